"""Find the units that must stay in floating point for the rest to keep within the budget.

Units return in the order that buys most: distance from the original's outputs for each byte given
up. How many of them is found by halving; then each that returned is tried in INT8 again, the
cheapest first, because together units do not cost what they cost one by one. Every model that was
tried is remembered, for the trade-off curve and for a search that goes on after an interruption.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from deepseek.quantization.quality import Quality
from deepseek.quantization.search.clock import Clock
from deepseek.quantization.search.sensitivity import Sensitivity
from deepseek.quantization.search.state import Trial
from deepseek.quantization.statistics import smallest_sample, unseen_interval

__all__ = ["Found", "Stopped", "find_kept", "is_within"]

Stopped = Literal["whole", "found", "time", "none"]

_MARGIN = 0.8  # of the budget: what lies on its edge here has even chances on other data


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a search ended with.

    Attributes:
        kept: Units that stay in floating point.
        stopped: ``whole``: nothing had to return; ``found``; ``time``: the budget of time ended it,
            with the best so far; ``none``: no model with anything quantized keeps within.
    """

    kept: frozenset[str]
    stopped: Stopped


def is_within(quality: Quality) -> bool:
    """Whether a model measured on search data is worth a verdict.

    The upper end of the interval must lie some way below the budget. Where there are so few records
    that not even an equal model could show that, the drop itself must.
    """
    least = smallest_sample(quality.max_drop)
    if least is None or quality.n < least:
        return quality.drop <= _MARGIN * quality.max_drop
    bound = max(_MARGIN * quality.max_drop, unseen_interval(quality.n).high)
    return quality.drop_interval.high <= bound


def find_kept(
    always: Collection[str],
    ranking: Sequence[Sensitivity],
    measure: Callable[[frozenset[str]], Trial],
    clock: Clock,
) -> Found:
    """Search.

    Args:
        always: Units that stay in floating point whatever happens.
        ranking: The other units.
        measure: From the units in floating point to what was measured.
        clock: When its time is over no further model is tried.
    """
    order = [
        unit.name
        for unit in sorted(ranking, key=lambda u: -u.distance / max(1, u.bytes_saved))
        if unit.name not in always
    ]
    best, least_bad = _halve(frozenset(always), order, measure, clock)
    if best is None:
        stopped: Stopped = "time" if clock.over() else "none"
        return Found(kept=least_bad.union(always), stopped=stopped)
    for name in reversed(order):
        if clock.over():
            return Found(kept=best, stopped="time")
        if name in best and len(best - frozenset(always)) > 1:
            without = best - {name}
            if measure(without).within:
                best = without
    return Found(kept=best, stopped="found")


def _halve(
    always: frozenset[str],
    order: Sequence[str],
    measure: Callable[[frozenset[str]], Trial],
    clock: Clock,
) -> tuple[frozenset[str] | None, frozenset[str]]:
    """The fewest units of the order that suffice, or None; and those of the smallest drop."""
    low, high = 0, len(order)  # ``low`` units do not suffice; all of them would leave nothing
    best: frozenset[str] | None = None
    least: Trial | None = None
    while high - low > 1 and not (clock.over() and least is not None):
        count = (low + high) // 2
        kept = always.union(order[:count])
        trial = measure(kept)
        if least is None or trial.drop < least.drop:
            least = trial
        if trial.within:
            best, high = kept, count
        else:
            low = count
    return best, frozenset() if least is None else frozenset(least.kept)
