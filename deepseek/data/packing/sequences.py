"""Texts put one behind the other and cut into sequences of one length, for language models.

Nothing is padded and no token is lost except those that do not fill the last sequence. Where texts
begin and end is kept, so that attention can stay within a text: ``boundaries`` holds where the
parts of a sequence begin, and its length at the end, as attention over ragged batches wants it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.packed.field import DTYPES, Field

__all__ = ["BOUNDARIES", "Place", "SequencePacker"]

BOUNDARIES = Field("boundaries", "int32", ragged=True)


@dataclass(frozen=True, slots=True)
class Place:
    """The first token that is not packed yet: the row of its text, and its number there."""

    item: int = 0
    token: int = 0


class SequencePacker:
    """Cuts a stream of texts.

    Args:
        tokens: The field of the sequences; its shape is their length.
    """

    def __init__(self, tokens: Field) -> None:
        self._name = tokens.name
        self._block = np.empty(tokens.shape, DTYPES[tokens.dtype].numpy)
        self._filled = 0
        self._boundaries = [0]

    @property
    def left(self) -> int:
        """Tokens that wait for more to fill a sequence."""
        return self._filled

    def add(
        self, text: NDArray[np.int64], item: int, start: int = 0
    ) -> Iterator[tuple[dict[str, Any], Place]]:
        """Add a text; give the sequences that became full, each with the place behind it.

        Args:
            text: Its tokens.
            item: The number of its row.
            start: Its first token that counts.
        """
        while start < len(text):
            part = text[start : start + len(self._block) - self._filled]
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            self._boundaries.append(self._filled)
            start += len(part)
            if self._filled == len(self._block):
                place = Place(item, start) if start < len(text) else Place(item + 1)
                yield {self._name: self._block, BOUNDARIES.name: self._boundaries}, place
                self._filled, self._boundaries = 0, [0]
