"""What the machine can do: products without memory, and reading memory without products."""

import torch
from measure import alternate

from deepseek.kernels import Target, current
from deepseek.kernels.emit import I8, I32, Arguments, Function, Module, Value, Variable, dot
from deepseek.kernels.gemm.spec import int8_format
from deepseek.kernels.jit import compile_module
from deepseek.kernels.parallel import run

__all__ = ["bandwidth", "int8_operations"]

ARGUMENTS = Arguments(memory="pointer", rounds="int")

_CHAINS = 12  # sums that do not wait for each other, and leave registers for the rest
_ROUNDS = 2000
_UNITS = 64
_LOADS = 8  # registers that a round reads
_BYTES = 1 << 29  # many times any last-level cache


def int8_operations() -> float:
    """Products and sums of 8-bit integers that all threads do in a second, by the best way.

    That is four products an instruction where there is one; elsewhere two, of 16 bits, and a sum.
    """
    memory = torch.zeros(1024, dtype=torch.uint8)
    products = compile_module(_build_products(current(), int8_format(current()).group))
    arguments = ARGUMENTS.pack(memory.data_ptr(), _ROUNDS)
    seconds = alternate({"peak": lambda: run(products, arguments, _UNITS)})["peak"]
    lanes = current().lanes * int8_format(current()).group
    return 2.0 * lanes * _CHAINS * _ROUNDS * _UNITS / seconds


def bandwidth() -> float:
    """Bytes that all threads read from memory in a second."""
    memory = torch.ones(_BYTES, dtype=torch.uint8)  # zeros would be one page, mapped many times
    size = _BYTES // _UNITS
    reading = compile_module(_build_reading(current()))
    arguments = ARGUMENTS.pack(memory.data_ptr(), size)
    seconds = alternate({"peak": lambda: run(reading, arguments, _UNITS)})["peak"]
    return _BYTES / seconds


def _build_products(target: Target, group: int) -> Module:
    module = Module(f"bench_products_{group}", target)
    with module.task(ARGUMENTS) as f:
        memory = f.array(f.arguments.memory, I32)
        factor = memory.load()
        product = dot.quads if group == 4 else dot.pairs
        for _ in f.range(f.begin, f.end):
            # Read, so that they are not known to be equal and computed once.
            sums = [f.variable(memory.load(chain * target.lanes)) for chain in range(_CHAINS)]
            for _ in f.range(0, f.arguments.rounds, carry=sums):
                for total in sums:
                    total.set(product(total, total, factor))  # or it would move out of the loop
            _keep(f, sums, f.arguments.memory)
    return module


def _build_reading(target: Target) -> Module:
    module = Module("bench_reading", target)
    line = target.lanes
    with module.task(ARGUMENTS) as f:
        size = f.arguments.rounds
        for unit in f.range(f.begin, f.end):
            begin = f.offset(f.arguments.memory, unit * size, I8)
            sums = [f.variable(f.zeros(I32)) for _ in range(_LOADS)]
            for place in f.range(0, size, 4 * line * _LOADS, carry=sums):
                block = f.offset(begin, place, I8)
                f.prefetch(block, 4 * line * _LOADS)
                for load, total in enumerate(sums):
                    total.set(total | f.array(block, I32).load(load * line))
            _keep(f, sums, f.arguments.memory)
    return module


def _keep(f: Function, sums: list[Variable], memory: Value) -> None:
    """Make a use of the sums, which code generation would leave out otherwise."""
    result: Value = sums[0]
    for total in sums[1:]:
        result = result | total
    f.array(memory, I32).store(result)
