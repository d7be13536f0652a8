"""Texts, perhaps with labels, out of a file or folder: some to calibrate on, some to measure on.

Files are walked once and never held: of each part at most ``limit`` records stay in memory, those
whose hash comes first, which is a sample without favour that does not depend on the order of rows
or files. The hash is of the text alone, so a text that occurs twice is one record and never lies
on both sides.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from deepseek.data.columns import Columns, find_columns
from deepseek.data.files import find_files
from deepseek.data.readers import READERS, Row
from deepseek.data.readers.row import bad_row
from deepseek.data.sample import Record, Sample, essence, position
from deepseek.errors import InputError
from deepseek.progress import Progress, silent

__all__ = ["Records", "read_records"]

_LOOKED_AT = 100  # rows that are looked at to find the columns
_REPORTED_EVERY = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """What was read.

    Attributes:
        calibration: Records to calibrate on.
        held_out: Records to measure on; no text of them is among the others.
        rows: How many rows with a text there were in all.
        empty: How many rows had none.
    """

    calibration: tuple[Record, ...]
    held_out: tuple[Record, ...]
    rows: int
    empty: int


def read_records(
    source: Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    held_out: float = 0.5,
    limit: int = 2500,
    seed: int = 0,
    progress: Progress = silent,
) -> Records:
    """Read the records at ``source``.

    Args:
        source: A file or folder, see ``find_files``.
        text_column: The column of the text, where its name does not tell.
        label_column: The column of the label, where its name does not tell.
        held_out: Share of the records held out where the names of the files do not say which.
        limit: Records kept of each part.
        seed: Which sample is kept where there are more.
        progress: Told of rows read.

    Raises:
        InputError: No data files, a bad row (with file and line), or fewer than two texts.
    """
    files = find_files(source)
    calibration, measured = Sample(limit, seed), Sample(limit, seed)
    tally = _Tally(progress)

    def split(text: str) -> Sample:
        return measured if position(text) < held_out else calibration

    for paths, part in (
        (files.held_out, lambda _: measured),
        (files.calibration, lambda _: calibration),
        (files.either, split),
    ):
        for record in chain.from_iterable(
            _records_of(path, text_column, label_column, tally) for path in paths
        ):
            part(record.text).offer(record)
    kept, tests = _apart(calibration.records(), measured.records(), source, held_out)
    return Records(calibration=kept, held_out=tests, rows=tally.rows, empty=tally.empty)


@dataclass(slots=True)
class _Tally:
    """Counts rows as they pass."""

    progress: Progress
    rows: int = 0
    empty: int = 0

    def count(self, *, empty: bool) -> None:
        self.empty += empty
        self.rows += not empty
        if self.rows % _REPORTED_EVERY == 0:
            self.progress("reading rows", self.rows, None)


def _apart(
    calibration: tuple[Record, ...], measured: tuple[Record, ...], source: Path, share: float
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Take texts to be measured out of the others; where one part is empty, divide the other."""
    texts = {essence(record.text) for record in measured}
    others = tuple(record for record in calibration if essence(record.text) not in texts)
    if others and measured:
        return others, measured
    records = others + measured
    if len(records) < 2:
        raise InputError(f"expected at least 2 different texts in {source}, found {len(records)}")
    cut = min(max(round(len(records) * (1 - share)), 1), len(records) - 1)
    return records[:cut], records[cut:]


def _records_of(
    path: Path, text_column: str | None, label_column: str | None, tally: _Tally
) -> Iterator[Record]:
    rows = READERS[path.suffix.lower()](path)
    first = list(islice(rows, _LOOKED_AT))
    if not first:
        return
    columns = find_columns(
        path, [row.values for row in first], text_column=text_column, label_column=label_column
    )
    yield from _chosen(path, columns, chain(first, rows), tally)


def _chosen(path: Path, columns: Columns, rows: Iterable[Row], tally: _Tally) -> Iterator[Record]:
    for row in rows:
        text = _value(path, row, columns.text)
        if not isinstance(text, str | None):
            raise bad_row(
                path, row.line, f"expected text in column {columns.text!r}, found {text!r:.60}"
            )
        text = (text or "").strip()
        tally.count(empty=not text)
        if text:
            label = None if columns.label is None else _label(path, row, columns.label)
            yield Record(text, label, f"{path}:{row.line}")


def _value(path: Path, row: Row, column: str) -> Any:
    if column not in row.values:
        names = ", ".join(repr(name) for name in list(row.values)[:12]) or "no column"
        raise bad_row(
            path, row.line, f"expected the column {column!r} as in the rows before, found {names}"
        )
    return row.values[column]


def _label(path: Path, row: Row, column: str) -> Any:
    label = _value(path, row, column)
    if label is None or label == "":
        raise bad_row(path, row.line, f"expected a label in column {column!r}, found none")
    return label
