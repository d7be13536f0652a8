"""How sure a measured loss is.

The loss is a mean over records that both models saw, so the records are resampled in pairs
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993). Where no record differs there is
nothing to resample; the interval is then what Wilson's score gives for an event never seen
(Wilson, Probable Inference, 1927).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "drop_interval", "records_needed", "wilson_interval"]

_Z = 1.959963984540054  # two-sided 95 %
_RESAMPLES = 10_000
_AT_ONCE = 2**22  # resampled values in memory at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


def drop_interval(
    before: NDArray[np.float64], after: NDArray[np.float64], *, seed: int = 0
) -> Interval:
    """The interval of ``mean(before - after)`` by the paired bootstrap.

    Args:
        before: Quality of the first model on every record, between 0 and 1.
        after: Quality of the second on the same records.
        seed: Of the resampling.
    """
    losses = before - after
    if not losses.any():
        unseen = wilson_interval(0, len(losses)).high
        return Interval(-unseen if (before < 1).any() else 0.0, unseen)
    generator = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // len(losses))
    means = np.concatenate([
        losses[generator.integers(len(losses), size=(count, len(losses)))].mean(axis=1)
        for count in _portions(_RESAMPLES, rows)
    ])  # fmt: skip
    low, high = np.quantile(means, [0.025, 0.975])
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


def records_needed(
    before: NDArray[np.float64], after: NDArray[np.float64], max_drop: float
) -> int | None:
    """About how many records would place the whole interval below ``max_drop``.

    None where the loss that was seen leaves no room below it.
    """
    losses = before - after
    room = max_drop - float(losses.mean())
    if room <= 0:
        return None
    by_spread = (_Z * float(losses.std()) / room) ** 2
    by_rarity = _Z**2 * (1 / room - 1) if not losses.any() else 0.0
    return int(np.ceil(max(by_spread, by_rarity)))
