"""Latency of compiled models beside others, one JSON object a line.

    python -m benchmarks.compiler.latency --threads 1 --precision fp32 --peers eager,onnxruntime

Every setting is run in turns with its peers in this process; the figure is the median.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from models import MODELS, make
from peers import PEERS

import deepseek
from benchmarks.kernels.measure import alternate, geometric_mean, record

SETTINGS = [(batch, length) for batch in (1, 8, 32) for length in (16, 128, 512)]
SHORT = [(1, 16), (1, 128), (8, 128)]
BARS = {
    "eager": 1.30, "inductor": 1.25, "onnxruntime": 1.15, "openvino": 1.10,
    "eager int8": 1.5, "onnxruntime int8": 1.35,
}  # fmt: skip


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=PEERS, default="fp32")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--peers", help="all that are known unless given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="three settings a model")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    known = PEERS[given.precision]
    names = given.peers.split(",") if given.peers else list(known)
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for name in given.models.split(","):
        model = make(name)
        compiled = deepseek.compile(model, precision=given.precision)
        peers = {peer: known[peer](make(name), name) for peer in names}
        for batch, length in SHORT if given.short else SETTINGS:
            if name == "vit-b16" and length != 128:
                continue
            inputs = MODELS[name][1](batch, length)
            for _ in range(3):  # Python, recorded, replayed
                compiled(**inputs)
            runs = {"ours": lambda run=compiled, inputs=inputs: run(**inputs)} | {
                peer: lambda run=run, inputs=inputs: run(inputs) for peer, run in peers.items()
            }
            times = alternate(runs, given.rounds, 0.05)
            for peer in names:
                ratios[peer].append(
                    record(
                        f"latency {given.precision}",
                        {"model": name, "batch": batch, "length": length},
                        times["ours"] * 1e3,
                        times[peer] * 1e3,
                        unit="ms",
                        peer=peer,
                        bar=1.0,
                    )
                )
    for peer, all_ratios in ratios.items():
        mean = geometric_mean(all_ratios)
        record(f"latency {given.precision}, geometric mean", {"cases": len(all_ratios)}, 1.0, mean,
               unit="ratio", peer=peer, bar=BARS[peer])  # fmt: skip


if __name__ == "__main__":
    main()
