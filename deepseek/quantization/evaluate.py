"""The original and the quantized model side by side on held-out data."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.progress import Progress, silent
from deepseek.quantization.batches import Batch, Batches
from deepseek.quantization.inspection import first_bad_layer
from deepseek.quantization.metrics import Metric, Scores, choose_metric, output_tensor

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What was measured.

    Attributes:
        metric: What was compared.
        scores: For each record.
        seconds_before: Time the original spent on a record.
        seconds_after: Time the quantized model spent on a record.
    """

    metric: Metric
    scores: Scores
    seconds_before: float
    seconds_after: float


def compare(
    original: nn.Module,
    quantized: nn.Module,
    batches: Batches,
    progress: Progress = silent,
    *,
    wanted: str = "auto",
) -> Comparison:
    """Show every batch to both models, which take turns at being first.

    Args:
        original: In floating point.
        quantized: What is held against it.
        batches: To show.
        progress: Told of batches shown.
        wanted: The metric's name; ``auto`` for the usual one.

    Raises:
        InputError: A model cannot be run on the batches, gives NaN or infinity (the layer is
            named), or outputs of no kind that can be compared.
    """
    sides = (_Side("original", original), _Side("quantized", quantized))
    metric = _metric(sides, next(iter(batches)), wanted)
    parts: list[Scores] = []
    records = 0
    for number, batch in enumerate(batches):
        progress("measuring", number, len(batches))
        order: Sequence[_Side] = sides if number % 2 == 0 else sides[::-1]
        predicted = {side.name: metric.predict(side.outputs(batch), batch) for side in order}
        parts.append(metric.score(predicted["original"], predicted["quantized"], batch))
        records += len(batch)
    progress("measuring", len(batches), len(batches))
    scores = Scores.joined(parts)
    if not len(scores.before):
        raise InputError("expected held-out texts of two tokens or more, found none")
    return Comparison(
        metric=metric,
        scores=scores,
        seconds_before=sides[0].seconds / records,
        seconds_after=sides[1].seconds / records,
    )


@dataclass(slots=True)
class _Side:
    """One of the two models, and the time it has spent."""

    name: str
    model: nn.Module
    seconds: float = 0.0

    def outputs(self, batch: Batch) -> Tensor:
        began = time.perf_counter()
        outputs = output_tensor(self.run(batch))
        self.seconds += time.perf_counter() - began
        if not outputs.isfinite().all():
            layer = first_bad_layer(self.model, batch)
            where = f"first out of layer {layer}" if layer else "out of its last step"
            raise InputError(
                f"expected finite outputs of the {self.name} model, found NaN or infinity, {where}"
            )
        return outputs

    def run(self, batch: Batch) -> Any:
        with torch.inference_mode():
            return self.model(**batch.inputs)


def _metric(sides: Sequence[_Side], batch: Batch, wanted: str) -> Metric:
    """The metric that fits; running the first batch for it also warms both models up."""
    try:
        outputs, _ = [side.run(batch) for side in sides]
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        kind = type(sides[0].model).__name__
        raise InputError(
            f"expected a model that runs on {', '.join(batch.inputs)}; {kind} says: {reason}"
        ) from error
    labelled = batch.labels is not None
    return choose_metric(sides[0].model, outputs, labelled=labelled, wanted=wanted)
