"""Batches out of a source that is walked anew each time; nothing but a batch is ever held."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from torch import Tensor

from deepseek.data.packing.item import Item, Source
from deepseek.data.sample import position
from deepseek.errors import InputError
from deepseek.quantization.batches import Batch

__all__ = ["ItemBatches", "divide"]

Encode = Callable[[Sequence[Item]], tuple[dict[str, Tensor], Tensor | None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemBatches:
    """Chosen records of a source.

    Attributes:
        source: Walked from its beginning for each pass.
        chosen: Numbers of the records, from 0.
        size: Records in a batch.
        encode: From records to the inputs of a model and their labels.
    """

    source: Source
    chosen: frozenset[int]
    size: int
    encode: Encode

    def __len__(self) -> int:
        return ceil(len(self.chosen) / self.size)

    def __iter__(self) -> Iterator[Batch]:
        waiting: list[Item] = []
        for number, item in enumerate(self.source.items()):
            if number in self.chosen:
                waiting.append(item)
                if len(waiting) == self.size:
                    yield self._batch(waiting)
                    waiting = []
        if waiting:
            yield self._batch(waiting)

    def _batch(self, items: Sequence[Item]) -> Batch:
        inputs, labels = self.encode(items)
        return Batch(inputs, labels, [item.origin for item in items])


def divide(
    source: Source, held_out: float, limit: int, seed: int
) -> tuple[frozenset[int], frozenset[int]]:
    """Numbers of records to calibrate on, and of others to measure on; up to ``limit`` of each.

    Raises:
        InputError: There are fewer than two.
    """
    count = source.count or 0
    if count < 2:
        raise InputError(f"expected at least 2 records in {source.name}, found {count}")
    order = sorted(range(count), key=lambda number: position(f"{seed}:{number}"))
    cut = min(max(round(count * held_out), 1), count - 1)
    return frozenset(order[cut:][:limit]), frozenset(order[:cut][:limit])
