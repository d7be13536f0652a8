"""How much each unit of a model costs by itself, measured.

Every unit is quantized alone, and the outputs are held against the original's. All units see the
same batches, one after the other, so that the measurement can be stopped after any batch and still
compares like with like.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from deepseek.progress import Progress
from deepseek.quantization.batches import Batch, Batches
from deepseek.quantization.metrics import Metric, output_tensor
from deepseek.quantization.metrics.distance import DISTANCES
from deepseek.quantization.metrics.outputs import kind_of
from deepseek.quantization.search.clock import Clock
from deepseek.quantization.search.state import SearchState, Tally
from deepseek.quantization.search.units import Mixing, Unit

__all__ = ["Sensitivity", "measure_sensitivity"]

_RECORDS = 256  # that suffice to rank layers; more are better spent on trials
_MOST_BYTES = 2**26  # of inputs that are held at a time
_SHARE = 0.4  # of the time budget


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """What a unit does when it alone is quantized.

    Attributes:
        name: The unit.
        layers: Its layers.
        distance: Mean distance of the outputs from the original's: nats of divergence where there
            are logits, one less the cosine where there are hidden states.
        changed: Share of decisions that changed; None where there are none.
        bytes_saved: What quantizing it saves.
        records: How many were measured.
    """

    name: str
    layers: tuple[str, ...]
    distance: float
    changed: float | None
    bytes_saved: int
    records: int


def measure_sensitivity(
    original: nn.Module,
    mixture: Mixing,
    units: Sequence[Unit],
    batches: Batches,
    *,
    tally: Tally,
    state: SearchState,
    clock: Clock,
    progress: Progress,
) -> tuple[Sensitivity, ...]:
    """Measure units one at a time; the most sensitive comes first.

    Args:
        original: In floating point.
        mixture: Of the original and the quantized model.
        units: To be measured.
        batches: To measure on.
        tally: What was measured before; goes on from there.
        state: Holds the tally; saved after every batch.
        clock: Measuring ends when a part of its time is spent, after one batch at least.
        progress: Told of units measured.
    """
    chosen = _chosen(batches)
    metric = _metric(original, chosen[0])
    total = len(chosen) * len(units)
    for number in range(tally.batches, len(chosen)):
        if number and clock.over(_SHARE):
            break
        batch = chosen[number]
        before = _predict(original, metric, batch)
        found = {}
        for done, unit in enumerate(units):
            progress("measuring layers one by one", number * len(units) + done, total)
            after = _predict(mixture.quantize({unit.name}), metric, batch)
            scores = metric.score(before, after, batch)
            distance = metric.drop(scores.before, scores.after)
            found[unit.name] = (float(distance.sum()), float((1 - scores.agreement).sum()))
        # Only whole batches count: an interruption between two units leaves the sums as they were.
        for name, (distance, changed) in found.items():
            tally.distance[name] = tally.distance.get(name, 0.0) + distance
            tally.changed[name] = tally.changed.get(name, 0.0) + changed
        tally.batches, tally.records = number + 1, tally.records + len(batch)
        state.save()
    progress("measuring layers one by one", total, total)
    return _ranked(units, tally, decides=metric.decides)


def _ranked(units: Sequence[Unit], tally: Tally, *, decides: bool) -> tuple[Sensitivity, ...]:
    found = [
        Sensitivity(
            name=unit.name,
            layers=unit.layers,
            distance=tally.distance[unit.name] / tally.records,
            changed=tally.changed[unit.name] / tally.records if decides else None,
            bytes_saved=unit.bytes_saved,
            records=tally.records,
        )
        for unit in units
    ]
    return tuple(sorted(found, key=lambda unit: -unit.distance))


def _chosen(batches: Batches) -> list[Batch]:
    """A few batches from all over, long and short ones by turns."""
    first = next(iter(batches))
    wanted = min(len(batches), max(1, -(-_RECORDS // len(first))))
    step = len(batches) / wanted
    numbers = {int(step * (number + 0.5)) for number in range(wanted)}
    chosen: list[Batch] = []
    held = 0
    for number, batch in enumerate(batches):
        if number in numbers and held < _MOST_BYTES:
            chosen.append(batch)
            held += sum(value.nbytes for value in batch.inputs.values())
    middle = len(chosen) // 2
    return [*chosen[middle::2], *chosen[middle + 1 :: 2], *chosen[:middle]]


def _metric(original: nn.Module, batch: Batch) -> Metric:
    with torch.inference_mode():
        return DISTANCES[kind_of(original, original(**batch.inputs))]


def _predict(model: nn.Module, metric: Metric, batch: Batch) -> torch.Tensor:
    with torch.inference_mode():
        return metric.predict(output_tensor(model(**batch.inputs)), batch)
