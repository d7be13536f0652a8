"""The original's predictions on the search data, made once, to hold many models against."""

import time
from functools import cached_property

from torch import Tensor, nn

from deepseek.progress import Progress
from deepseek.quantization.batches import Batch, Batches
from deepseek.quantization.evaluate import Comparison, fitting_metric, outputs_of
from deepseek.quantization.metrics import Metric, Scores

__all__ = ["Reference"]

_MOST_BYTES = 2**27  # of predictions that are kept; of a language model's divergence they are many


class Reference:
    """Predictions of the original.

    Args:
        original: In floating point.
        batches: The search data.
        wanted: The metric's name, or ``auto``.
    """

    def __init__(self, original: nn.Module, batches: Batches, wanted: str) -> None:
        self._original = original
        self._batches = batches
        self._wanted = wanted
        self._kept: dict[int, Tensor] = {}
        self._room = _MOST_BYTES

    @cached_property
    def metric(self) -> Metric:
        """The metric that fits.

        Raises:
            InputError: The one that is wanted does not, or the model does not run on the data.
        """
        return fitting_metric(self._original, next(iter(self._batches)), self._wanted)

    def compare(self, model: nn.Module, progress: Progress, stage: str) -> Comparison:
        """Hold a model against the original on every batch.

        Raises:
            InputError: It gives NaN or infinity (the layer is named).
        """
        metric = self.metric
        parts: list[Scores] = []
        seconds, records = 0.0, 0
        for number, batch in enumerate(self._batches):
            progress(stage, number, len(self._batches))
            began = time.perf_counter()
            outputs = outputs_of("quantized", model, batch)
            seconds += time.perf_counter() - began
            after = metric.predict(outputs, batch)
            parts.append(metric.score(self._before(number, batch), after, batch))
            records += len(batch)
        progress(stage, len(self._batches), len(self._batches))
        return Comparison(
            metric=metric,
            scores=Scores.joined(parts),
            seconds_before=float("nan"),
            seconds_after=seconds / records,
        )

    def _before(self, number: int, batch: Batch) -> Tensor:
        if number in self._kept:
            return self._kept[number]
        outputs = outputs_of("original", self._original, batch)
        predicted = self.metric.predict(outputs, batch)
        if predicted.nbytes <= self._room:
            self._kept[number] = predicted
            self._room -= predicted.nbytes
        return predicted
