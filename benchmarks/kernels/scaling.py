"""What a second thread brings, one JSON object a line.

    python benchmarks/kernels/scaling.py

Each figure is the time of one thread over that of two, halved: 1 is perfect. One thread and two
take turns; so do the machine's own peaks, which say what there is to be had: two virtual cores may
be two threads of one core, and a core's clock may fall when its neighbour works.
"""

import argparse
import itertools
from collections.abc import Callable

import torch
from measure import alternate, record
from peak import fp32_peak

from deepseek.kernels import linear, pack_weight
from deepseek.kernels.int8 import linear_int8, pack_int8

SHAPES = [(768, 768), (3072, 768), (768, 3072)]
BAR = 0.92


def on(threads: int, run: Callable[[], object]) -> Callable[[], object]:
    """The function, on so many threads."""

    def call() -> object:
        torch.set_num_threads(threads)
        return run()

    return call


def measure(kind: str, m: int, n: int, k: int, rounds: int) -> None:
    """The efficiency for one product, and that of the peak beside it."""
    torch.manual_seed(0)
    x, weight = torch.randn(m, k), torch.randn(n, k) / k**0.5
    if kind == "int8":
        scales = weight.abs().amax(1) / 127
        integers = (weight / scales[:, None]).round().to(torch.int8)
        quantized = pack_int8(integers, scales, "asymmetric")
        runs = {t: on(t, lambda: linear_int8(x, quantized)) for t in (1, 2)}
    else:
        dtype = torch.bfloat16 if kind == "bf16" else torch.float32
        x, packed = x.to(dtype), pack_weight(weight.to(dtype))
        runs = {t: on(t, lambda: linear(x, packed)) for t in (1, 2)}
    peaks = {t: fp32_peak(t) for t in (1, 2)}
    torch.set_num_threads(2)  # the clock on the wall counts for both
    times = alternate(
        {"one": runs[1], "two": runs[2], "peak one": on(1, peaks[1].run),
         "peak two": on(2, peaks[2].run)},
        rounds,
    )  # fmt: skip
    torch.set_num_threads(2)
    setting = {"kind": kind, "m": m, "n": n, "k": k}
    record("efficiency of two threads", setting, times["one"] / times["two"] / 2, 1.0,
           unit="share", peer="one thread", bar=BAR, higher_is_better=True,
           share=times["peak one"] / times["peak two"])  # fmt: skip


def main() -> None:
    """Measure what the command line asks for; ``share_of_peak`` is the efficiency of the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--kinds", nargs="+", default=["fp32", "bf16", "int8"])
    parser.add_argument("--rows", nargs="+", type=int, default=[512, 4096])
    options = parser.parse_args()
    with torch.no_grad():
        for kind, m, (n, k) in itertools.product(options.kinds, options.rows, SHAPES):
            measure(kind, m, n, k, options.rounds)


if __name__ == "__main__":
    main()
