"""Weights of 4 and 8 bits at one row of activations, as in decoding; one JSON object a line.

    python benchmarks/kernels/weight_only.py --threads 1

The weight lies in memory, not in a cache: what counts is how much of the memory's measured
bandwidth the product gets out of it, and how much sooner it is done than torch in fp32.
"""

import argparse

import torch
from bandwidth import bandwidth
from measure import alternate, record
from torch.nn.functional import linear

from deepseek.kernels.int8 import linear_weight_only, pack_weight_only

KINDS = {"8": (8, 128, False), "4": (4, 128, False), "4z": (4, 32, True)}  # bits, group, zeros
SHARE_OF_BANDWIDTH = 0.8
FASTER = {8: 2.0, 4: 4.0}


def measure(n: int, k: int, kind: str, rows: int, memory: float, rounds: int) -> None:
    """The share of the bandwidth and the ratio to fp32, after the result has been found right."""
    bits, group, zeros = KINDS[kind]
    torch.manual_seed(0)
    x, weight = torch.randn(rows, k), torch.randn(n, k) / k**0.5
    packed = pack_weight_only(weight, bits, group, zeros=zeros)
    torch.testing.assert_close(
        linear_weight_only(x, packed), linear(x, packed.unpack()), atol=1e-3, rtol=1e-3
    )
    times = alternate(
        {"ours": lambda: linear_weight_only(x, packed), "theirs": lambda: linear(x, weight)},
        rounds,
    )
    size = packed.panels.nbytes
    setting = {"m": rows, "n": n, "k": k, "bits": bits, "group": group, "zeros": zeros,
               "megabytes": round(size / 1e6, 1)}  # fmt: skip
    if rows == 1:
        record("weight only, share of bandwidth", setting, size / times["ours"] / 1e9,
               memory / 1e9, unit="GB/s", peer="reading memory", bar=SHARE_OF_BANDWIDTH,
               higher_is_better=True)  # fmt: skip
    record("weight only", setting, times["ours"], times["theirs"], unit="s",
           peer="torch.nn.functional.linear", bar=FASTER[bits])  # fmt: skip


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", nargs=2, type=int, default=[16384, 16384], metavar=("N", "K"))
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    memory = bandwidth()
    with torch.no_grad():
        for kind in options.kinds:
            for rows in options.rows:
                measure(*options.size, kind, rows, memory, options.rounds)


if __name__ == "__main__":
    main()
