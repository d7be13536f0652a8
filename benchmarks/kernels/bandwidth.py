"""How fast the machine reads its memory."""

import time

import torch

from deepseek.kernels import jit, parallel
from deepseek.kernels.emit import I8, I32, Arguments, Module, Value
from deepseek.kernels.target import Target, current

__all__ = ["bandwidth"]

_BYTES = 1 << 29  # many times any last-level cache
_UNITS = 64
_LOADS = 8  # registers that a step reads
_ROUNDS = 9

_ARGUMENTS = Arguments(memory="pointer", size="int")


def build_reading(target: Target) -> Module:
    """Read memory from its beginning to its end; a unit is a part of it."""
    module = Module("bench_reading", target)
    step = target.vector_bytes * _LOADS
    with module.task(_ARGUMENTS) as f:
        a = f.arguments
        for unit in f.range(f.begin, f.end):
            part = f.array(f.offset(a.memory, unit * a.size, I8), I8)
            sums = [f.variable(f.zeros(I32)) for _ in range(_LOADS)]
            for place in f.range(0, a.size, step, carry=sums):
                words = f.array(part.at(place).pointer, I32)
                f.prefetch(words.pointer, step)
                for position, total in enumerate(sums):
                    total.set(total | words.load(position * f.lanes))
            everything: Value = sums[0].value
            for total in sums[1:]:
                everything = everything | total
            f.array(part.pointer, I32).store(everything)  # or nothing would be read
    return module


def bandwidth() -> float:
    """Bytes that torch's number of threads reads in a second; the best of some runs."""
    memory = torch.ones(_BYTES, dtype=torch.uint8)  # zeros would be one page, mapped many times
    kernel = jit.compile_module(build_reading(current()))
    arguments = _ARGUMENTS.pack(memory.data_ptr(), _BYTES // _UNITS)
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    best = float("inf")
    for _ in range(_ROUNDS):
        start = clock()
        parallel.run(kernel, arguments, _UNITS)
        best = min(best, clock() - start)
    return _BYTES / best
