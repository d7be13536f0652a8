"""Many records of a ragged field as two tensors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

__all__ = ["Ragged"]


@dataclass(frozen=True, slots=True)
class Ragged:
    """Records of different lengths, one after the other.

    Attributes:
        values: The items of all records, shape (items, ...).
        offsets: Where each record begins in ``values``, and where the last ends: int64, one more
            than there are records.
    """

    values: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Tensor:
        start, stop = self.offsets[range(len(self))[index] :][:2].tolist()
        return self.values[start:stop]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> Tensor:
        """How many items each record has, int64."""
        return self.offsets.diff()

    def padded(self, fill: float = 0, length: int | None = None) -> Tensor:
        """The records as one tensor (records, length, ...), filled up at their ends.

        Args:
            fill: What to fill up with.
            length: The length, longer records being cut; by default that of the longest.
        """
        lengths = self.lengths
        if length is None:
            length = int(lengths.max()) if len(self) else 0
        kept = torch.arange(length).unsqueeze(0) < lengths.unsqueeze(1)
        full = self.values.new_full((len(self), length, *self.values.shape[1:]), fill)
        cut = torch.arange(len(self.values)) - self.offsets[:-1].repeat_interleave(lengths) < length
        full[kept] = self.values if bool(cut.all()) else self.values[cut]
        return full

    def to(self, *arguments: Any, **options: Any) -> Self:
        """Both tensors moved or converted as ``Tensor.to`` does; offsets keep their type."""
        values = self.values.to(*arguments, **options)
        return type(self)(values, self.offsets.to(values.device))

    def pin_memory(self) -> Self:
        """Both tensors in pinned memory; a ``DataLoader`` asks for it."""
        return type(self)(self.values.pin_memory(), self.offsets.pin_memory())
