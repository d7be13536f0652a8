"""``.parquet``, read batch by batch."""

from collections.abc import Iterator
from pathlib import Path

from deepseek.data.readers.row import Row, bad_row
from deepseek.errors import InputError

__all__ = ["read_parquet"]

_ROWS_AT_ONCE = 1024


def read_parquet(path: Path) -> Iterator[Row]:
    """The rows of a file.

    Raises:
        InputError: The file is damaged, or pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            f"{path}: expected pyarrow to read Parquet files, found none installed",
            hint="pip install 'deepseek-toolkit[data]'",
        ) from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise bad_row(path, number + 1, f"expected a Parquet file, found {reason}") from error
