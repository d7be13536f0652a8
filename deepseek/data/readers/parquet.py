"""``.parquet``, read batch by batch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepseek.data.readers.batches import read_batches
from deepseek.data.readers.row import Row

__all__ = ["read_parquet"]

_ROWS_AT_ONCE = 1024


def read_parquet(path: Path) -> Iterator[Row]:
    """The rows of a file.

    Raises:
        InputError: The file is damaged, or pyarrow is not installed.
    """
    yield from read_batches(path, "a Parquet file", _batches)


def _batches(path: Path) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=_ROWS_AT_ONCE)
