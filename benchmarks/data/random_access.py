"""Random records and shuffled batches as tensors, beside the libraries people use for this.

Writes the same records in every format into a temporary folder (0.5 GB for each of five formats),
reads each once so that its files are warm, and then asks all of them for the same random records,
in turns. Run it alone on the machine, on one core:

    taskset -c 1 python benchmarks/data/random_access.py

Prints one JSON object for each figure; ``ratio`` is theirs / ours of medians over the rounds.
Libraries that are not installed are left out, with a line on stderr.
"""

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from peers import LENGTH, OURS, PEERS, Access, Peer, built, installed, versions

ROUNDS = 5
CALLS = 3000  # in a round, if they do not take longer than this
SECONDS = 1.0
BATCH = 32
BARS = {"p50": 2.0, "p99": 10.0}  # microseconds for a sample
NUMPY_BAR, PEER_BAR, BATCH_BAR = 4.0, 10.0, 3.0

Task = Callable[[Access, Any], object]


@dataclass(frozen=True)
class Figure:
    """What is measured."""

    name: str
    run: Task
    batches: bool


FIGURES = (
    Figure("random sample", lambda access, number: access.sample(number), batches=False),
    Figure(f"shuffled batch of {BATCH}", lambda access, rows: access.batch(rows), batches=True),
    Figure(
        "random sample, every number read",
        lambda access, number: access.sample(number).sum(),
        batches=False,
    ),
)


def microseconds(task: Task, access: Access, asked: Sequence[Any]) -> list[float]:
    """How long each call took, until there are enough of them."""
    clock = time.perf_counter_ns
    taken: list[float] = []
    gc.collect()
    end = clock() + SECONDS * 1e9
    for what in asked:
        begin = clock()
        task(access, what)
        now = clock()
        taken.append((now - begin) / 1000)
        if now > end:
            break
    return taken


def measure(
    figure: Figure, opened: dict[str, Access], records: int
) -> dict[str, list[list[float]]]:
    """The times of every contender, round by round, in turns."""
    random = np.random.default_rng(0)
    times: dict[str, list[list[float]]] = {name: [] for name in opened}
    for number in range(ROUNDS + 1):
        shape = (CALLS, BATCH) if figure.batches else CALLS
        asked = random.integers(0, records, shape).tolist()
        for name, access in opened.items():
            taken = microseconds(figure.run, access, asked)
            if number:  # the first round is to warm up
                times[name].append(taken)
    return times


def percentile(times: Sequence[float], share: float) -> float:
    """The time that this share of calls stays below."""
    return float(np.percentile(times, share * 100))


def lines(
    figure: Figure, times: dict[str, list[list[float]]], peers: Sequence[Peer], setting: object
) -> Iterator[dict[str, Any]]:
    """The lines of a figure: ours against its own bars, then against each peer."""
    ours = times[OURS.name]
    found = {
        "p50": median(percentile(taken, 0.50) for taken in ours),
        "p99": median(percentile(taken, 0.99) for taken in ours),
    }
    if figure is FIGURES[0]:
        for name, bar in BARS.items():
            yield {
                **line(f"{figure.name}, {name}", setting, found[name], None, OURS),
                "bar": bar,
                "met": found[name] <= bar,
            }
    for peer in peers:
        theirs = times[peer.name]
        ratio = median(median(b) / median(a) for a, b in zip(ours, theirs, strict=True))
        bar = bar_of(figure, peer)
        yield {
            **line(figure.name, setting, found["p50"], median(map(median, theirs)), peer),
            "ratio": round(ratio, 2),
            "theirs_p99": round(median(percentile(taken, 0.99) for taken in theirs), 2),
            "ours_p99": round(found["p99"], 2),
            "bar": bar,
            "met": None if bar is None else ratio >= bar,
        }


def bar_of(figure: Figure, peer: Peer) -> float | None:
    """The ratio that was promised, if one was."""
    if figure is FIGURES[0]:
        return NUMPY_BAR if peer.package == "numpy" else PEER_BAR
    return BATCH_BAR if figure.batches else None


def line(
    figure: str, setting: object, ours: float, theirs: float | None, peer: Peer
) -> dict[str, Any]:
    """What every figure says."""
    return {
        "figure": figure,
        "setting": setting,
        "ours": round(ours, 2),
        "theirs": None if theirs is None else round(theirs, 2),
        "unit": "us",
        "peer": None if theirs is None else peer.name,
        "ratio": None,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "cpu": platform.processor() or platform.machine(),
        "versions": versions(peer),
    }


def warm(folder: Path) -> None:
    """Read every file once."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 24):
                    pass


def main() -> None:
    """Build, open, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=131_072)
    parser.add_argument("--folder", type=Path, help="keep the data sets here, and use them again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    records: int = arguments.records
    peers = [peer for peer in PEERS if installed(peer)]
    for peer in PEERS:
        if peer not in peers:
            print(f"left out, not installed: {peer.name}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as temporary:
        top = arguments.folder or Path(temporary)
        opened = {peer.name: prepared(peer, top, records) for peer in (OURS, *peers)}
        setting = {"records": records, "numbers": LENGTH, "dtype": "int32", "warm": True}
        for figure in FIGURES:
            for result in lines(figure, measure(figure, opened, records), peers, setting):
                print(json.dumps(result), flush=True)


def prepared(peer: Peer, top: Path, records: int) -> Access:
    """The open records of a peer, warm and checked."""
    folder = built(peer, top, records)
    warm(folder)
    access = peer.open(folder)
    last = records - 1
    assert access.sample(last).tolist() == [last] * LENGTH, peer.name
    assert access.batch([5, last, 5])[:, -1].tolist() == [5, last, 5], peer.name
    return access


if __name__ == "__main__":
    main()
