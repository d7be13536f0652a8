"""How the training benchmarks measure and print: alternated, median, one JSON object a line."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

import torch

__all__ = ["alternate", "record"]

_UNTIMED = 3  # turns in which caches, buffers and compilers settle


def alternate(turns: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taken in turns so that drift hits all alike.

    On one thread its CPU time counts, which other programs do not disturb much; on several, the
    clock on the wall.
    """
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds + _UNTIMED):
        for name in sorted(turns, reverse=number % 2 == 1):
            began = clock()
            turns[name]()
            if number >= _UNTIMED:
                seconds[name].append(clock() - began)
    return {name: statistics.median(measured) for name, measured in seconds.items()}


def record(
    figure: str,
    setting: Mapping[str, object],
    ours: float,
    theirs: float,
    *,
    unit: str,
    peer: str,
    bar: float,
    packages: tuple[str, ...] = (),
) -> None:
    """Print one figure of which less is better; a ratio above 1 means ours is."""
    ratio = theirs / ours
    line = {
        "figure": figure,
        "setting": dict(setting),
        "ours": ours,
        "theirs": theirs,
        "unit": unit,
        "peer": peer,
        "ratio": round(ratio, 4),
        "bar": bar,
        "met": ratio >= bar,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "cpu": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "transformers", *packages)},
    }
    print(json.dumps(line), flush=True)
