"""How the kernel benchmarks measure and print: alternated, median, one JSON object a line."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import llvmlite
import torch

from deepseek.kernels.target import current

__all__ = ["alternate", "geometric_mean", "record"]

Runs = Mapping[str, Callable[[], object]]


def alternate(runs: Runs, rounds: int = 15, seconds: float = 0.01) -> dict[str, float]:
    """Median seconds a call of each function, taken in turns so that drift hits all alike.

    Who follows whom changes from round to round, and the first call of a turn does not count: it
    finds in the caches, and the clock at, what the function before it left. On one thread its CPU
    time counts, which other programs do not disturb much; on several, the clock on the wall.

    Args:
        runs: Functions by name.
        rounds: How often each has its turn.
        seconds: Length of a turn, which sets the calls in it.
    """
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    calls = {}
    for name, function in runs.items():
        function()
        start = clock()
        function()
        calls[name] = max(1, int(seconds / max(clock() - start, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs.items())
    for _ in range(rounds):
        order = [*reversed(order[1:]), order[0]]
        for name, function in order:
            function()
            start = clock()
            for _ in range(calls[name]):
                function()
            times[name].append((clock() - start) / calls[name])
    return {name: statistics.median(measured) for name, measured in times.items()}


def record(
    figure: str,
    setting: Mapping[str, object],
    ours: float,
    theirs: float,
    *,
    unit: str,
    peer: str,
    bar: float,
    higher_is_better: bool = False,
    share: float | None = None,
) -> float:
    """Print one measured figure as a JSON line, and return the ratio; above 1 ours is better.

    ``share`` is that of the machine's peak which ours reaches.
    """
    ratio = ours / theirs if higher_is_better else theirs / ours
    line = {
        "figure": figure,
        "setting": dict(setting),
        "ours": ours,
        "theirs": theirs,
        "unit": unit,
        "peer": peer,
        "ratio": round(ratio, 4),
        **({} if share is None else {"share_of_peak": round(share, 3)}),
        "bar": bar,
        "met": ratio >= bar,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "cpu": f"{current().cpu} ({platform.machine()})",
        "versions": {"torch": torch.__version__, "llvmlite": llvmlite.__version__},
    }
    print(json.dumps(line), flush=True)
    return ratio


def geometric_mean(ratios: Iterator[float] | list[float]) -> float:
    """The mean that ratios have."""
    return statistics.geometric_mean(ratios)
