"""Rows of the files that have a reader: .jsonl, .csv, .tsv, .txt, .parquet."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from deepseek.data.packing.item import Item, Source, name_of
from deepseek.data.readers import READERS, Row
from deepseek.data.readers.lines import lines_of

__all__ = ["open_tables"]

Documents = Literal["line", "paragraph", "file"]


def open_tables(files: Sequence[Path], documents: Documents) -> Source:
    """The rows of one file after the other.

    Args:
        files: Files whose ending has a reader.
        documents: What one text is in a .txt file.
    """

    def items() -> Iterator[Item]:
        for path in files:
            for row in _rows(path, documents):
                yield Item(row.values, f"{path}:{row.line}")

    return Source(name=name_of(files), items=items, files=tuple(files))


def _rows(path: Path, documents: Documents) -> Iterator[Row]:
    if path.suffix.lower() != ".txt" or documents == "line":
        return READERS[path.suffix.lower()](path)
    return _whole(path) if documents == "file" else _paragraphs(path)


def _whole(path: Path) -> Iterator[Row]:
    yield Row(1, {"text": "".join(line for _, line in lines_of(path))})


def _paragraphs(path: Path) -> Iterator[Row]:
    """What stands between empty lines, with the line each begins on."""
    lines: list[str] = []
    start = 1
    for number, line in lines_of(path):
        if line.strip():
            start = start if lines else number
            lines.append(line)
        elif lines:
            yield Row(start, {"text": "".join(lines)})
            lines = []
    if lines:
        yield Row(start, {"text": "".join(lines)})
