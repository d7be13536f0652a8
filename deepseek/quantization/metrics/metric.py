"""What a metric is: how predictions become scores of records, and those a level and a drop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepseek.quantization.batches import Batch

__all__ = ["Array", "Metric", "Scores", "array", "gained", "lost", "mean_level"]

Array = NDArray[np.float64]
_Value = TypeVar("_Value", float, Array)


@dataclass(frozen=True, slots=True)
class Scores:
    """One number for each record and each model.

    Attributes:
        before: Of the original.
        after: Of the quantized model.
        agreement: Share of equal decisions, or the cosine where there are none; NaN where there is
            neither.
        truth: What the numbers are held against, where a metric needs it: labels, or the number of
            tokens.
    """

    before: Array
    after: Array
    agreement: Array
    truth: Array | None = None

    @classmethod
    def joined(cls, parts: "Sequence[Scores]") -> "Scores":
        """Those of all batches, without records that have nothing to decide (NaN)."""
        before = np.concatenate([part.before for part in parts]).astype(np.float64)
        usable = ~np.isnan(before)

        def column(values: Sequence[Array]) -> Array:
            return np.concatenate(values).astype(np.float64)[usable]

        truths = [part.truth for part in parts if part.truth is not None]
        return cls(
            before[usable],
            column([part.after for part in parts]),
            column([part.agreement for part in parts]),
            column(truths) if truths else None,
        )


def mean_level(values: Array, truth: Array | None) -> float:
    """The mean over records."""
    del truth
    return float(values.mean())


def lost(before: _Value, after: _Value) -> _Value:
    """The drop of what is better when it is higher."""
    return before - after


def gained(before: _Value, after: _Value) -> _Value:
    """The drop of what is better when it is lower."""
    return after - before


@dataclass(frozen=True, slots=True)
class Metric:
    """A way to compare.

    Attributes:
        name: As ``--metric`` takes it.
        predict: From the output tensor of a model and its inputs to a prediction.
        score: From the predictions of the original and the quantized model to scores.
        level: From the numbers of all records, and what they are held against, to the metric.
        drop: From the level before and the level after to the loss that is gated. Where the level
            is a mean, the loss is also the mean of the losses of records.
        decides: Whether the agreement is a share of decisions.
    """

    name: str
    predict: Callable[[Tensor, Batch], Tensor]
    score: Callable[[Tensor, Tensor, Batch], Scores]
    level: Callable[[Array, Array | None], float] = mean_level
    drop: Callable[[Any, Any], Any] = lost
    decides: bool = True


def array(values: Tensor) -> Array:
    """A tensor as numbers to calculate with."""
    result: Array = values.double().numpy()
    return result
