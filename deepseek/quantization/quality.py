"""What was lost, how sure that is, and whether it is within the budget."""

from dataclasses import dataclass

from deepseek.quantization.evaluate import Comparison
from deepseek.quantization.statistics import (
    Interval,
    drop_interval,
    records_needed,
    wilson_interval,
)

__all__ = ["Quality", "judge"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """The verdict on a quantized model. Shares, not per cent.

    Attributes:
        metric: ``accuracy``, ``next_token_accuracy``, ``agreement`` or ``cosine``.
        n: Records measured.
        before: Mean of the metric for the original; 1 for agreement and cosine.
        after: Mean for the quantized model.
        drop: ``before - after``.
        drop_interval: Its 95 % confidence interval.
        agreement: Share of decisions that are equal, with its interval; None for cosine.
        lowest: Cosine of the worst record; None for the other metrics.
        max_drop: The budget.
        records_needed: About how many records would settle it, where these do not.
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
    def passed(self) -> bool:
        """Whether the measured drop is within the budget."""
        return self.drop <= self.max_drop

    @property
    def certain(self) -> bool:
        """Whether the whole interval lies on the side of the verdict."""
        if self.passed:
            return self.drop_interval.high <= self.max_drop
        return self.drop_interval.low > self.max_drop


def judge(comparison: Comparison, *, max_drop: float, seed: int = 0) -> Quality:
    """Hold a comparison against the budget."""
    scores = comparison.scores
    n = len(scores.before)
    before, after = float(scores.before.mean()), float(scores.after.mean())
    interval = drop_interval(scores.before, scores.after, seed=seed)
    decides = comparison.metric.name != "cosine"
    agreement = float(scores.agreement.mean())
    return Quality(
        metric=comparison.metric.name,
        n=n,
        before=before,
        after=after,
        drop=float((scores.before - scores.after).mean()),
        drop_interval=interval,
        agreement=agreement if decides else None,
        agreement_interval=wilson_interval(agreement * n, n) if decides else None,
        lowest=None if decides else float(scores.agreement.min()),
        max_drop=max_drop,
        records_needed=records_needed(scores.before, scores.after, max_drop),
    )
