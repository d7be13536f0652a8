"""How sure a measured loss is.

The loss is a mean over records that both models saw, so the records are resampled in pairs
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993). Where no record differs there is
nothing to resample; the interval is then what Wilson's score gives for an event never seen
(Wilson, Probable Inference, 1927). Where fewer than three records lost anything the bootstrap is
too sure of itself, as it never resamples what it has not seen: the upper end is then at least
Wilson's for so many losses, less what was gained.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Interval",
    "drop_interval",
    "needed_by_width",
    "records_needed",
    "resampled_interval",
    "smallest_sample",
    "unseen_interval",
    "wilson_interval",
]

Array = NDArray[np.float64]

_Z = 1.959963984540054  # two-sided 95 %
_RESAMPLES = 10_000
_RESAMPLES_OF_ANY = 2_000  # of a statistic that is no mean, computed anew for each
_FEW = 3  # records with a loss below which the bootstrap alone is not trusted
_AT_ONCE = 2**22  # resampled values in memory at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


def drop_interval(before: Array, after: Array, *, seed: int = 0) -> Interval:
    """The interval of ``mean(before - after)`` by the paired bootstrap.

    Args:
        before: Quality of the first model on every record, between 0 and 1.
        after: Quality of the second on the same records.
        seed: Of the resampling.
    """
    losses = before - after
    if not losses.any():
        unseen = unseen_interval(len(losses))
        return unseen if (before < 1).any() else Interval(0.0, unseen.high)
    generator = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // len(losses))
    means = np.concatenate([
        losses[generator.integers(len(losses), size=(count, len(losses)))].mean(axis=1)
        for count in _portions(_RESAMPLES, rows)
    ])  # fmt: skip
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), max(float(high), _upper_of_few(losses)))


def _upper_of_few(losses: Array) -> float:
    """What Wilson's score says of losses that hardly any record had; -1 where enough had."""
    worst = losses[losses > 0]
    if len(worst) >= _FEW:
        return -1.0
    height = float(worst.max()) if len(worst) else float(np.abs(losses).max())
    gains = -float(losses[losses < 0].sum()) / len(losses)
    return height * wilson_interval(len(worst), len(losses)).high - gains


def unseen_interval(n: int) -> Interval:
    """Of a difference that none of ``n`` records showed."""
    unseen = wilson_interval(0, n).high
    return Interval(-unseen, unseen)


def resampled_interval(drop: Callable[[NDArray[np.int64]], float], n: int, seed: int) -> Interval:
    """The interval of any statistic of ``n`` records by the bootstrap.

    Args:
        drop: From the numbers of the records drawn, with repetitions, to the statistic.
        n: How many there are.
        seed: Of the resampling.
    """
    generator = np.random.default_rng(seed)
    drops = [drop(generator.integers(n, size=n)) for _ in range(_RESAMPLES_OF_ANY)]
    low, high = np.quantile(drops, [0.025, 0.975])
    return Interval(float(low), float(high))


def _portions(total: int, most: int) -> list[int]:
    full, rest = divmod(total, most)
    return [most] * full + ([rest] if rest else [])


def wilson_interval(successes: float, trials: int) -> Interval:
    """The score interval of a rate: honest for few trials and for rates near 0 and 1."""
    rate = successes / trials
    spread = _Z**2 / trials
    middle = (rate + spread / 2) / (1 + spread)
    half = _Z * np.sqrt(rate * (1 - rate) / trials + spread / (4 * trials)) / (1 + spread)
    return Interval(max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def records_needed(before: Array, after: Array, max_drop: float) -> int | None:
    """About how many records would place the whole interval on one side of ``max_drop``.

    Below it where less was lost, above it where more was; None where exactly as much was.
    """
    losses = before - after
    if not losses.any():
        return smallest_sample(max_drop)
    room = max_drop - float(losses.mean())
    return _by_spread(float(losses.std()), abs(room), max(0.0, _skewness(losses) * np.sign(room)))


def _skewness(losses: Array) -> float:
    return float(((losses - losses.mean()) ** 3).mean() / losses.std() ** 3) if losses.std() else 0


def _by_spread(spread: float, room: float, skewness: float = 0.0) -> int | None:
    """How many records bring an end of the interval ``room`` away from the mean.

    The distance is ``x * spread * (z + x * skewness * (z**2 - 1) / 6)`` with one over the root of
    their number for ``x`` (Cornish and Fisher, 1938).
    """
    if room == 0:
        return None
    bend = spread * skewness * (_Z**2 - 1) / 6
    root = np.sqrt((_Z * spread) ** 2 + 4 * bend * room)
    return int(np.ceil(((_Z * spread + root) / (2 * room)) ** 2))


def smallest_sample(max_drop: float) -> int | None:
    """How many records it takes at least to show a drop below ``max_drop``: if none differs."""
    return None if max_drop <= 0 else int(np.ceil(_Z**2 * (1 / max_drop - 1)))


def needed_by_width(interval: Interval, drop: float, max_drop: float, n: int) -> int | None:
    """The same for any statistic, whose interval narrows with the root of the number."""
    half = interval.high - drop if drop <= max_drop else drop - interval.low
    return _by_spread(half / _Z * float(np.sqrt(n)), abs(max_drop - drop))
