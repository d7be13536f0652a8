"""``.txt``: a text a line, no labels; blank lines are no rows."""

from collections.abc import Iterator
from pathlib import Path

from deepseek.data.readers.lines import lines_of
from deepseek.data.readers.row import Row

__all__ = ["read_plain_text"]


def read_plain_text(path: Path) -> Iterator[Row]:
    """The lines of a file as rows of one column, ``text``."""
    for number, line in lines_of(path):
        if text := line.strip():
            yield Row(number, {"text": text})
