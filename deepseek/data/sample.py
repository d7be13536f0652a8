"""A sample of texts that depends on the texts alone, not on the order of rows or files."""

import hashlib
import heapq
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Record", "Sample", "essence", "position"]


@dataclass(frozen=True, slots=True)
class Record:
    """A text, its label as the file has it (or None), and where it stands: ``path:line``."""

    text: str
    label: Any
    origin: str


@dataclass(slots=True)
class Sample:
    """The ``limit`` records whose hashes come first among all that were offered, each text once."""

    limit: int
    seed: int
    _heap: list[tuple[int, Record]] = field(default_factory=list)
    _kept: set[int] = field(default_factory=set)

    def offer(self, record: Record) -> None:
        """Keep the record if it belongs to the sample, in place of the one that then does not."""
        key = -_number(f"{self.seed}:{essence(record.text)}")  # the heap's first is the last kept
        if key in self._kept:
            return
        self._kept.add(key)
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, (key, record))
        else:
            self._kept.remove(heapq.heappushpop(self._heap, (key, record))[0])

    def records(self) -> tuple[Record, ...]:
        """The sample in the order of the hashes."""
        return tuple(record for _, record in sorted(self._heap, key=lambda item: -item[0]))


def essence(text: str) -> str:
    """The text without what makes no difference to a reader: case and white space."""
    return " ".join(text.casefold().split())


def position(text: str) -> float:
    """A place in [0, 1) that depends on the text alone."""
    return _number(essence(text)) / 2**64


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest())
