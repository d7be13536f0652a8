"""Latency of compiled models beside others, one JSON object a line.

    python benchmarks/compiler/latency.py --threads 1 --precision fp32 --peers eager,onnxruntime

Every setting is run in turns with its peers in this process; the figure is the median. A peer that
is not installed, or that cannot run a model, is left out and named on stderr.
"""

import argparse
import importlib.util
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[2]))  # measuring is shared with other rooms

from models import MODELS, make
from peers import BARS, PEERS

import deepseek
from benchmarks.kernels.measure import alternate, geometric_mean, record

Setting = tuple[int, int]
SETTINGS: list[Setting] = [(batch, length) for batch in (1, 8, 32) for length in (16, 128, 512)]
SHORT: list[Setting] = [(1, 16), (1, 128), (8, 128)]
_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "torchao": "torchao"}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=PEERS, default="fp32")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--peers", help="all that are installed unless given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settings", help="such as 1x16,8x128: batch x length; all unless given")
    parser.add_argument("--short", action="store_true", help="three settings a model")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(given.threads)
    names = given.peers.split(",") if given.peers else _installed(given.precision)
    settings = _settings(given.settings) if given.settings else SHORT if given.short else SETTINGS
    ratios: dict[str, list[float]] = defaultdict(list)
    for name in given.models.split(","):
        for peer, found in _compare(name, given.precision, names, settings, given.rounds):
            ratios[peer].append(found)
    for peer, all_ratios in ratios.items():
        mean = geometric_mean(all_ratios)
        record(f"latency {given.precision}, geometric mean", {"cases": len(all_ratios)}, 1.0, mean,
               unit="ratio", peer=peer, bar=BARS[peer])  # fmt: skip


def _compare(
    name: str, precision: str, peers: list[str], settings: list[Setting], rounds: int
) -> list[tuple[str, float]]:
    """The ratios of one model, by peer."""
    compiled = deepseek.compile(make(name), precision=precision)
    others = {}
    for peer in peers:
        try:
            others[peer] = PEERS[precision][peer](make(name), name)
        except Exception as error:  # noqa: BLE001 - whatever a peer raises
            print(f"{peer} cannot run {name}: {error}", file=sys.stderr)
    ratios = []
    for batch, length in settings:
        if name == "vit-b16" and length != 128:
            continue
        inputs = MODELS[name][1](batch, length)
        for _ in range(3):  # Python, recorded, replayed
            compiled(**inputs)
        runs = {"ours": lambda inputs=inputs: compiled(**inputs)} | {
            peer: lambda run=run, inputs=inputs: run(inputs) for peer, run in others.items()
        }
        times = alternate(runs, rounds, 0.05)
        for peer in others:
            ratio = record(
                f"latency {precision}",
                {"model": name, "batch": batch, "length": length},
                times["ours"] * 1e3,
                times[peer] * 1e3,
                unit="ms",
                peer=peer,
                bar=1.0,
            )
            ratios.append((peer, ratio))
    return ratios


def _installed(precision: str) -> list[str]:
    packages = {peer: _PACKAGES.get(peer.split()[0]) for peer in PEERS[precision]}
    return [
        peer
        for peer, package in packages.items()
        if package is None or importlib.util.find_spec(package)
    ]


def _settings(text: str) -> list[Setting]:
    pairs = (setting.split("x") for setting in text.split(","))
    return [(int(batch), int(length)) for batch, length in pairs]


if __name__ == "__main__":
    main()
