"""``.arrow``, as ``datasets`` saves it (a stream) or as a file, read batch by batch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepseek.data.readers.row import Row, bad_row
from deepseek.errors import InputError

__all__ = ["read_arrow"]

_ROWS_AT_ONCE = 256
_FILE_MARK = b"ARROW1"


def read_arrow(path: Path) -> Iterator[Row]:
    """The rows of a file.

    Raises:
        InputError: The file is damaged, or pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise InputError(
            f"{path}: expected pyarrow to read Arrow files, found none installed",
            hint="pip install 'deepseek-toolkit[data]'",
        ) from error
    number = 0
    try:
        with pyarrow.memory_map(str(path)) as memory:
            for batch in _batches(memory):
                for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                    for values in batch.slice(start, _ROWS_AT_ONCE).to_pylist():
                        number += 1
                        yield Row(number, values)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise bad_row(path, number + 1, f"expected an Arrow file, found {reason}") from error


def _batches(memory: Any) -> Iterator[Any]:
    import pyarrow

    mark = memory.read(len(_FILE_MARK))
    memory.seek(0)
    if mark == _FILE_MARK:
        with pyarrow.ipc.open_file(memory) as file:
            for number in range(file.num_record_batches):
                yield file.get_batch(number)
    else:
        with pyarrow.ipc.open_stream(memory) as stream:
            yield from stream
