"""The original and the quantized model side by side on held-out data."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.progress import Progress, silent
from deepseek.quantization.batches import Batch, Batches
from deepseek.quantization.inspection import first_bad_layer
from deepseek.quantization.metrics import Metric, Scores, choose_metric, output_tensor
from deepseek.quantization.metrics.metric import mean_level

__all__ = ["Comparison", "Worst", "compare", "fitting_metric", "outputs_of"]

_SHOWN = 10  # of the worst records
_LONGEST = 300  # characters of each


@dataclass(frozen=True, kw_only=True, slots=True)
class Worst:
    """A record that lost something: the beginning of its text, or its file; and how much."""

    record: str
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What was measured.

    Attributes:
        metric: What was compared.
        scores: For each record.
        seconds_before: Time the original spent on a record.
        seconds_after: Time the quantized model spent on a record.
        worst: Records that lost most, the worst first.
    """

    metric: Metric
    scores: Scores
    seconds_before: float
    seconds_after: float
    worst: Sequence[Worst] = ()


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
    first = next(iter(batches))
    metric = fitting_metric(original, first, wanted)
    with torch.inference_mode():
        quantized(**first.inputs)  # both are warm now
    parts: list[Scores] = []
    worst: list[Worst] = []
    records = 0
    for number, batch in enumerate(batches):
        progress("measuring", number, len(batches))
        order = sides if number % 2 == 0 else sides[::-1]
        predicted = {side.name: metric.predict(side.outputs(batch), batch) for side in order}
        part = metric.score(predicted["original"], predicted["quantized"], batch)
        parts.append(part)
        worst = _worst_of([*worst, *_losses(metric, part, batch)])
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
        worst=worst,
    )


def _losses(metric: Metric, scores: Scores, batch: Batch) -> Iterator[Worst]:
    """What each record of a batch lost; where the metric is no mean, how far its number moved."""
    if batch.names is None:
        return
    losses = metric.drop(scores.before, scores.after) if metric.level is mean_level else (
        abs(scores.after - scores.before)
    )  # fmt: skip
    for name, loss in zip(batch.names, losses, strict=True):
        if loss > 0:
            yield Worst(record=name[:_LONGEST] + "…" * (len(name) > _LONGEST), loss=float(loss))


def _worst_of(records: list[Worst]) -> list[Worst]:
    return sorted(records, key=lambda record: -record.loss)[:_SHOWN]


@dataclass(slots=True)
class _Side:
    """One of the two models, and the time it has spent."""

    name: str
    model: nn.Module
    seconds: float = 0.0

    def outputs(self, batch: Batch) -> Tensor:
        began = time.perf_counter()
        outputs = outputs_of(self.name, self.model, batch)
        self.seconds += time.perf_counter() - began
        return outputs


def outputs_of(name: str, model: nn.Module, batch: Batch) -> Tensor:
    """The output tensor of a model on a batch.

    Args:
        name: What to call the model where it fails.
        model: The model.
        batch: The batch.

    Raises:
        InputError: It gives NaN or infinity; the layer is named.
    """
    with torch.inference_mode():
        outputs = output_tensor(model(**batch.inputs))
    if outputs.isfinite().all():
        return outputs
    layer = first_bad_layer(model, batch)
    where = f"first out of layer {layer}" if layer else "out of its last step"
    raise InputError(f"expected finite outputs of the {name} model, found NaN or infinity, {where}")


def fitting_metric(original: nn.Module, batch: Batch, wanted: str = "auto") -> Metric:
    """The metric that fits a model and a batch.

    Raises:
        InputError: The model does not run on it, or the metric that is wanted does not fit.
    """
    try:
        with torch.inference_mode():
            outputs = original(**batch.inputs)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        kind = type(original).__name__
        raise InputError(
            f"expected a model that runs on {', '.join(batch.inputs)}; {kind} says: {reason}"
        ) from error
    labelled = batch.labels is not None
    return choose_metric(original, outputs, labelled=labelled, wanted=wanted)
