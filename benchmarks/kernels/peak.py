"""What the processor can do at most: fused multiply-adds in fp32 with nothing else in the way.

    python benchmarks/kernels/peak.py --threads 1
"""

import argparse
import ctypes
import time
from functools import cache

import torch
from measure import record

from deepseek.kernels import jit, parallel
from deepseek.kernels.emit import Arguments, Module
from deepseek.kernels.target import Target, current

__all__ = ["fp32_peak"]

_CHAINS = 12  # more than the latency of a multiply-add times the units for it
_STEPS = 200_000
_ROUNDS = 9

_ARGUMENTS = Arguments(out="pointer", factor="float", steps="int")


def build_peak(target: Target) -> Module:
    """Chains of multiply-adds that do not wait for each other; a unit is one run of them."""
    module = Module("deepseek_peak", target)
    with module.task(_ARGUMENTS) as f:
        a = f.arguments
        factor = a.factor.splat()
        for unit in f.range(f.begin, f.end):
            sums = [f.variable(f.full(float(chain))) for chain in range(_CHAINS)]
            for _ in f.range(0, a.steps, carry=sums):
                for total in sums:
                    total.set(f.fma(total, factor, factor))
            everything = sums[0].value
            for total in sums[1:]:
                everything = everything + total
            f.array(a.out).at(unit * f.lanes).store(everything)
    return module


@cache
def fp32_peak(threads: int) -> float:
    """Most GFLOP/s that ``threads`` threads of this machine reach, in fp32; the best of some runs."""
    kernel, lanes = jit.kernel(build_peak), current().lanes
    out = (ctypes.c_float * (threads * lanes + 16))()
    arguments = _ARGUMENTS.pack(ctypes.addressof(out), 0.5, _STEPS)
    work = 2 * _CHAINS * lanes * _STEPS * threads / 1e9
    clock = time.thread_time if threads == 1 else time.perf_counter
    best = float("inf")
    for _ in range(_ROUNDS):
        start = clock()
        parallel.run(kernel, arguments, threads)
        best = min(best, clock() - start)
    return work / best


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    peak = fp32_peak(threads)
    record("fp32 peak", {}, peak, peak, unit="GFLOP/s", peer="itself", bar=1.0)


if __name__ == "__main__":
    main()
