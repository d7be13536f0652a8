"""What the processor can do at most: products with nothing else in the way.

A benchmark takes it in turns with its kernels: a clock that falls under load falls for both.

    python benchmarks/kernels/peak.py --threads 1

In fp32 by fused multiply-adds; in bf16 and of 8-bit integers by the instruction that the kernels
use: AMX's tiles where the process may use them, else two or four products a lane where there is
one, elsewhere the fp32 of widened bf16, or two products of 16 bits and an addition.
"""

import argparse
import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from measure import alternate, record

from deepseek.kernels import amx, jit, parallel
from deepseek.kernels.emit import (
    BF16,
    I8,
    I32,
    VOID,
    Arguments,
    Module,
    Value,
    Variable,
    dot,
    tiles,
)
from deepseek.kernels.gemm.spec import int8_format
from deepseek.kernels.target import Target, current

__all__ = ["Peak", "bf16_peak", "fp32_peak", "int8_peak"]

_CHAINS = 12  # more than the latency of a multiply-add times the units for it
_TILES, _TILE = 6, 16  # tiles that are added to, and their rows and columns
_STEPS = 200_000

_ARGUMENTS = Arguments(out="pointer", factor="float", count="int", steps="int")


def build_fp32(target: Target) -> Module:
    """Chains of multiply-adds that do not wait for each other; a unit is one run of them."""
    module = Module("bench_peak_fp32", target)
    with module.task(_ARGUMENTS) as f:
        a = f.arguments
        factor = a.factor.splat()
        for unit in f.range(f.begin, f.end):
            sums = [f.variable(f.full(float(chain))) for chain in range(_CHAINS)]
            for _ in f.range(0, a.steps, carry=sums):
                for total in sums:
                    total.set(f.fma(total, factor, factor))
            f.array(a.out).at(unit * f.lanes).store(_together(sums))
    return module


def build_int8(target: Target) -> Module:
    """The same of integer products, which read their own sums so that no one leaves the loop."""
    module = Module("bench_peak_int8", target)
    product = dot.quads if int8_format(target).group == 4 else dot.pairs
    with module.task(_ARGUMENTS) as f:
        a = f.arguments
        factor = a.count.to(I32).splat(f.lanes)
        for unit in f.range(f.begin, f.end):
            sums = [f.variable(factor + chain) for chain in range(_CHAINS)]
            for _ in f.range(0, a.steps, carry=sums):
                for total in sums:
                    total.set(product(total, total, factor))
            f.array(a.out, I32).at(unit * f.lanes).store(_together(sums))
    return module


def build_bf16(target: Target) -> Module:
    """The same of two bf16 products a lane."""
    module = Module("bench_peak_bf16", target)
    with module.task(_ARGUMENTS) as f:
        a = f.arguments
        pairs = a.factor.splat().bits(BF16)
        for unit in f.range(f.begin, f.end):
            sums = [f.variable(f.full(float(chain))) for chain in range(_CHAINS)]
            for _ in f.range(0, a.steps, carry=sums):
                for total in sums:
                    name = "llvm.x86.avx512bf16.dpbf16ps.512"
                    total.set(f.call(name, total.type, total, pairs, pairs))
            f.array(a.out).at(unit * f.lanes).store(_together(sums))
    return module


def build_tiles(target: Target, product: str) -> Module:
    """AMX's product of two tiles, added to six others in turns."""
    module = Module(f"bench_peak_{product.rpartition('.')[2]}", target)
    with module.task(_ARGUMENTS) as f:
        tiles.configure(f, f.index(_TILE))
        for register in range(8):
            f.call("llvm.x86.tilezero", VOID, f.constant(register, I8))
        for _ in f.range(f.begin * f.arguments.steps, f.end * f.arguments.steps):
            for register in range(_TILES):
                f.call(product, VOID, *(f.constant(n, I8) for n in (register, 6, 7)))
        tiles.release(f)
    return module


def _together(sums: Sequence[Variable]) -> Value:
    everything = sums[0].value
    for total in sums[1:]:
        everything = everything + total
    return everything


@dataclass(frozen=True)
class Peak:
    """A function that does as many products as the machine can, and how many it does.

    Attributes:
        run: Takes about a millisecond.
        work: Billions of operations of a run.
    """

    run: Callable[[], None]
    work: float

    def rate(self) -> float:
        """Operations in a second, in billions; median of some runs."""
        return self.work / alternate({"peak": self.run})["peak"]


def fp32_peak(threads: int) -> Peak:
    """Multiply-adds in fp32 on so many threads."""
    return _peak(build_fp32(current()), _CHAINS * current().lanes, threads)


def int8_peak(threads: int) -> Peak:
    """The same of 8-bit integers."""
    target = current()
    if target.amx and amx.allowed():
        module = build_tiles(target, "llvm.x86.tdpbusd")
        return _peak(module, _TILES * _TILE * _TILE * 64, threads, steps=_STEPS // 10)
    return _peak(build_int8(target), _CHAINS * target.lanes * int8_format(target).group, threads)


def bf16_peak(threads: int) -> Peak:
    """The same in bf16."""
    target = current()
    if target.amx and amx.allowed():
        module = build_tiles(target, "llvm.x86.tdpbf16ps")
        return _peak(module, _TILES * _TILE * _TILE * 32, threads, steps=_STEPS // 10)
    if target.bf16:
        return _peak(build_bf16(target), _CHAINS * target.lanes * 2, threads)
    return fp32_peak(threads)


def _peak(module: Module, products: int, threads: int, steps: int = _STEPS) -> Peak:
    # Not found by its recipe: the cache's keys cover the sources of the package, not this one.
    kernel = jit.compile_module(module)
    out = (ctypes.c_float * (threads * current().lanes + 16))()
    arguments = _ARGUMENTS.pack(ctypes.addressof(out), 0.5, 77, steps)

    def run(_alive: object = out) -> None:
        parallel.run(kernel, arguments, threads)

    return Peak(run, 2 * products * steps * threads / 1e9)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    for figure, peak, unit in (
        ("fp32 peak", fp32_peak(threads).rate(), "GFLOP/s"),
        ("bf16 peak", bf16_peak(threads).rate(), "GFLOP/s"),
        ("int8 peak", int8_peak(threads).rate(), "GOP/s"),
    ):
        record(figure, {}, peak, peak, unit=unit, peer="itself", bar=1.0)


if __name__ == "__main__":
    main()
