"""What was lost, how sure that is, and whether it is within the budget."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.evaluate import Comparison
from deepseek.quantization.metrics import Metric, Scores
from deepseek.quantization.metrics.metric import lost, mean_level
from deepseek.quantization.statistics import (
    Interval,
    drop_interval,
    needed_by_width,
    records_needed,
    resampled_interval,
    smallest_sample,
    unseen_interval,
    wilson_interval,
)

__all__ = ["Quality", "Verdict", "judge"]

Verdict = Literal["passed", "undecided", "missed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """The verdict on a quantized model. Shares, not per cent.

    Attributes:
        metric: Its name.
        n: Records measured.
        before: The metric for the original; 1 for agreement and cosine, 0 for kl.
        after: The metric for the quantized model.
        drop: The loss: ``before - after``, for kl ``after - before``, for perplexity the share by
            which it rose.
        drop_interval: Its 95 % confidence interval.
        agreement: Share of decisions that are equal, with its interval; None where the metric
            takes none.
        lowest: Cosine of the worst record; None for the other metrics.
        max_drop: The budget.
        records_needed: About how many records would settle it, where these do not; None where they
            do, and where no number would.
    """

    metric: str
    n: int
    before: float
    after: float
    drop: float
    drop_interval: Interval
    agreement: float | None
    agreement_interval: Interval | None
    lowest: float | None
    max_drop: float
    records_needed: int | None

    @property
    def verdict(self) -> Verdict:
        """Passed if the whole interval lies within the budget, missed if none of it does."""
        if self.drop_interval.high <= self.max_drop:
            return "passed"
        return "missed" if self.drop_interval.low > self.max_drop else "undecided"

    @property
    def passed(self) -> bool:
        """Whether the drop is shown to be within the budget: by the upper end of its interval."""
        return self.verdict == "passed"


def judge(comparison: Comparison, *, max_drop: float, seed: int = 0) -> Quality:
    """Hold a comparison against the budget."""
    metric, scores = comparison.metric, comparison.scores
    n = len(scores.before)
    before = metric.level(scores.before, scores.truth)
    after = metric.level(scores.after, scores.truth)
    drop = metric.drop(before, after)
    interval = _interval(metric, scores, seed)
    decided = not interval.low <= max_drop < interval.high
    agreement = float(scores.agreement.mean()) if metric.decides else None
    return Quality(
        metric=metric.name,
        n=n,
        before=before,
        after=after,
        drop=drop,
        drop_interval=interval,
        agreement=agreement,
        agreement_interval=None if agreement is None else wilson_interval(agreement * n, n),
        lowest=float(scores.agreement.min()) if metric.name == "cosine" else None,
        max_drop=max_drop,
        records_needed=None if decided else _needed(metric, scores, drop, interval, max_drop),
    )


def _interval(metric: Metric, scores: Scores, seed: int) -> Interval:
    if metric.level is mean_level:
        return drop_interval(*_as_qualities(metric, scores), seed=seed)
    n = len(scores.before)
    if np.array_equal(scores.before, scores.after):
        return unseen_interval(n)

    def drop(drawn: NDArray[np.int64]) -> float:
        truth = None if scores.truth is None else scores.truth[drawn]
        levels = (metric.level(side[drawn], truth) for side in (scores.before, scores.after))
        return float(metric.drop(*levels))

    return resampled_interval(drop, n, seed)


def _as_qualities(metric: Metric, scores: Scores) -> tuple[NDArray[np.float64], ...]:
    """Two columns whose difference is the loss of a record."""
    return (scores.before, scores.after) if metric.drop is lost else (scores.after, scores.before)


def _needed(
    metric: Metric, scores: Scores, drop: float, interval: Interval, max_drop: float
) -> int | None:
    if metric.level is mean_level:
        before, after = _as_qualities(metric, scores)
        needed = records_needed(before, after, max_drop)
    elif np.array_equal(scores.before, scores.after):
        needed = smallest_sample(max_drop)
    else:
        needed = needed_by_width(interval, drop, max_drop, len(scores.before))
    # These many do not settle it, whatever an estimate from them says.
    return None if needed is None else max(needed, len(scores.before) + 1)
