"""Rows out of record batches of pyarrow, some at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deepseek.data.readers.row import Row, bad_row
from deepseek.errors import InputError

__all__ = ["read_batches"]

_ROWS_AT_ONCE = 256


def read_batches(path: Path, kind: str, batches: Callable[[Path], Iterator[Any]]) -> Iterator[Row]:
    """The rows of a file.

    Args:
        path: The file.
        kind: What it is to people: ``an Arrow file``.
        batches: Opens it, and walks through its record batches.

    Raises:
        InputError: The file is damaged, or pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise InputError(
            f"{path}: expected pyarrow to read it, found none installed",
            hint="pip install 'deepseek-toolkit[data]'",
        ) from error
    number = 0
    try:
        for batch in batches(path):
            for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                for values in batch.slice(start, _ROWS_AT_ONCE).to_pylist():
                    number += 1
                    yield Row(number, values)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise bad_row(path, number + 1, f"expected {kind}, found {reason}") from error
