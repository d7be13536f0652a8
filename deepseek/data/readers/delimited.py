"""``.csv`` and ``.tsv``: columns named by the first line."""

import csv
from collections.abc import Iterator
from pathlib import Path

from deepseek.data.readers.lines import lines_of
from deepseek.data.readers.row import Row, bad_row

__all__ = ["read_csv", "read_tsv"]


def read_csv(path: Path) -> Iterator[Row]:
    """The rows of a file with commas, quotes where needed, and names in the first line.

    Raises:
        InputError: Quotes do not match, or a row has more or fewer columns than the first line.
    """
    return _named(path, _csv_rows(path))


def read_tsv(path: Path) -> Iterator[Row]:
    """The rows of a file with tabs and names in the first line; quotes mean nothing within.

    Quotes around a whole cell, as spreadsheets write them, are taken off.

    Raises:
        InputError: A row has more or fewer columns than the first line.
    """
    cells = (
        (number, [_unquoted(cell) for cell in line.rstrip("\r\n").split("\t")])
        for number, line in lines_of(path)
        if line.strip("\r\n")
    )
    return _named(path, cells)


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line that each begins on; the reader itself counts where it ends."""
    reader = csv.reader((line for _, line in lines_of(path)), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise bad_row(path, start, f"expected comma-separated values, found {error}") from error
        if cells:
            yield start, cells


def _named(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    first, names = next(rows, (1, []))
    if len(set(names)) < len(names):
        raise bad_row(path, first, "expected different names in the first line, found one twice")
    for line, cells in rows:
        if len(cells) != len(names):
            raise bad_row(
                path, line, f"expected {len(names)} columns as in line {first}, found {len(cells)}"
            )
        yield Row(line, dict(zip(names, cells, strict=True)))


def _unquoted(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell
