"""Records of a packed set: those to learn from, or the few that are held out of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek.data.packed.dataset import PackedDataset
from deepseek.errors import InputError

__all__ = ["RecordRange", "Records"]

_TOKENS = "tokens"
_ROUNDED_TO = 8  # tokens; fewer different shapes for compilers and pipelines


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordRange:
    """Which records of a set: all, or all but every n-th, or every n-th.

    Every n-th record, rather than the last ones, also holds out a fair share of files that are
    sorted by class.

    Attributes:
        path: The packed set.
        every: Of how many records one is held out; 0 holds out none.
        held_out: Whether these are the held-out ones.
    """

    path: Path
    every: int = 0
    held_out: bool = False

    def open(self, *, pad: int = 0, longest: int | None = None) -> "Records":
        """Map the set.

        Args:
            pad: What short records are filled up with.
            longest: Where longer ones are cut.

        Raises:
            InputError: There is no such set, or no record in the range.
        """
        packed = PackedDataset(self.path)
        records = Records(packed, self, pad, longest)
        if len(records) == 0:
            what = "hold out" if self.held_out else "learn from"
            raise InputError(f"{self.path}: expected records to {what}, found {len(packed)} in all")
        return records

    def count(self, records: int) -> int:
        """How many of ``records`` are in the range."""
        held = records // self.every if self.every else 0
        return held if self.held_out else records - held

    def numbers(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers in the set of the records with these numbers in the range."""
        if not self.every:
            return ids
        if self.held_out:
            return ids * self.every + self.every - 1
        return ids + ids // (self.every - 1)


@dataclass(frozen=True, slots=True)
class Records:
    """Mapped records; ``len`` is how many are in the range."""

    packed: PackedDataset
    range: RecordRange
    pad: int
    longest: int | None

    def __len__(self) -> int:
        return self.range.count(len(self.packed))

    @property
    def widest(self) -> int | None:
        """The most tokens in a record, where there are tokens; an upper bound if they vary."""
        for field in self.packed.fields:
            if field.name == _TOKENS:
                return self.longest if field.ragged else field.shape[-1]
        return None

    def gather(self, ids: NDArray[np.int64]) -> Mapping[str, torch.Tensor]:
        """The fields of the records with these numbers, each (B, ...).

        Tokens of different length are filled up at their ends, and ``length`` (B,) says how long
        they were.
        """
        fields = self.packed.batch(self.range.numbers(ids))
        found: dict[str, torch.Tensor] = {}
        for name, values in fields.items():
            if isinstance(values, torch.Tensor):
                found[name] = values
            if isinstance(values, torch.Tensor) or name != _TOKENS:
                continue
            rounded = -(-int(values.lengths.max()) // _ROUNDED_TO) * _ROUNDED_TO
            width = rounded if self.longest is None else min(rounded, self.longest)
            found[name] = values.to(torch.long).padded(self.pad, width)
            found["length"] = values.lengths.clamp(max=width)
        return found
