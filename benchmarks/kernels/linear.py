"""Linear layers against ``torch.nn.functional.linear``, one JSON object a line.

    python benchmarks/kernels/linear.py --threads 1 --dtype float32

Every shape of the models below at every number of rows; last a line with the geometric mean and one
with the worst ratio.
"""

import argparse
import itertools

import torch
from measure import alternate, geometric_mean, record
from peak import bf16_peak, fp32_peak
from torch.nn import functional

from deepseek.kernels import linear, pack_weight

LAYERS = {
    "bert-base": [(2304, 768), (768, 768), (3072, 768), (768, 3072)],
    "minilm": [(1152, 384), (384, 384), (1536, 384), (384, 1536)],
    "gpt2": [(2304, 768), (768, 768), (3072, 768), (768, 3072), (50257, 768)],
}
ROWS = [1, 4, 37, 128, 512, 4096]
PEAKS = {torch.float32: fp32_peak, torch.bfloat16: bf16_peak}
BARS = {"float32": (1.10, 0.97), "bfloat16": (1.05, 0.97)}  # geometric mean, worst


def measure(m: int, n: int, k: int, dtype: torch.dtype, rounds: int) -> float:
    """The ratio for one product, after its result has been found right."""
    torch.manual_seed(0)
    x, weight = torch.randn(m, k).to(dtype), (torch.randn(n, k) / k**0.5).to(dtype)
    bias = torch.randn(n).to(dtype)
    packed = pack_weight(weight)
    tolerance = 1e-4 if dtype == torch.float32 else 5e-2
    torch.testing.assert_close(
        linear(x, packed, bias), functional.linear(x, weight, bias), atol=tolerance, rtol=tolerance
    )
    peak = PEAKS[dtype](torch.get_num_threads())
    times = alternate(
        {
            "ours": lambda: linear(x, packed, bias),
            "theirs": lambda: functional.linear(x, weight, bias),
            "peak": peak.run,
        },
        rounds,
    )
    work = 2 * m * n * k / 1e9
    return record(
        "linear",
        {"m": m, "n": n, "k": k, "dtype": str(dtype).removeprefix("torch.")},
        work / times["ours"],
        work / times["theirs"],
        unit="GFLOP/s",
        peer="torch.nn.functional.linear",
        bar=BARS[str(dtype).removeprefix("torch.")][1],
        higher_is_better=True,
        share=work / times["ours"] * times["peak"] / peak.work,
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=BARS, default="float32")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    shapes = sorted({shape for model in options.models for shape in LAYERS[model]})
    dtype = getattr(torch, options.dtype)
    with torch.no_grad():
        ratios = [
            measure(m, n, k, dtype, options.rounds)
            for (n, k), m in itertools.product(shapes, options.rows)
            if m * n * k < 1 << 36  # the vocabulary times 4096 rows takes seconds a call
        ]
    mean_bar, worst_bar = BARS[options.dtype]
    setting = {"dtype": options.dtype, "products": len(ratios)}
    for figure, ratio, bar in (
        ("linear, geometric mean", geometric_mean(ratios), mean_bar),
        ("linear, worst", min(ratios), worst_bar),
    ):
        record(figure, setting, ratio, 1.0, unit="ratio", peer="torch.nn.functional.linear",
               bar=bar, higher_is_better=True)  # fmt: skip


if __name__ == "__main__":
    main()
