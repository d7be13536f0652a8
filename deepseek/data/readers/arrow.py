"""``.arrow``, as ``datasets`` saves it (a stream) or as a file, read batch by batch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepseek.data.readers.batches import read_batches
from deepseek.data.readers.row import Row

__all__ = ["read_arrow"]

_FILE_MARK = b"ARROW1"


def read_arrow(path: Path) -> Iterator[Row]:
    """The rows of a file.

    Raises:
        InputError: The file is damaged, or pyarrow is not installed.
    """
    yield from read_batches(path, "an Arrow file", _batches)


def _batches(path: Path) -> Iterator[Any]:
    import pyarrow

    with pyarrow.memory_map(str(path)) as memory:
        mark = memory.read(len(_FILE_MARK))
        memory.seek(0)
        if mark == _FILE_MARK:
            with pyarrow.ipc.open_file(memory) as file:
                for number in range(file.num_record_batches):
                    yield file.get_batch(number)
        else:
            with pyarrow.ipc.open_stream(memory) as stream:
                yield from stream
