"""Write one shard: records go in one at a time, the file appears whole or not at all."""

import tempfile
from array import array
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from zlib import crc32

from numpy.typing import NDArray

from deepseek.data.packed.checked_file import CheckedFile
from deepseek.data.packed.field import Field
from deepseek.data.packed.index import ShardEntry
from deepseek.data.packed.layout import Header, Section
from deepseek.data.packed.values import rows_of
from deepseek.errors import InputError

__all__ = ["ShardWriter"]

_COPIED_AT_ONCE = 1 << 20


class ShardWriter:
    """Writes the records of one shard in bounded memory: eight bytes a ragged record, no more.

    The numbers of a field lie together in the file. Those of the first field go straight there,
    those of the others wait in unnamed files beside it until the shard is finished.

    Args:
        path: The shard; its folder must exist. It appears there when it is finished.
        fields: The fields of every record.
    """

    def __init__(self, path: Path, fields: Sequence[Field]) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._stack = ExitStack()
        self._stack.callback(self._part.unlink, missing_ok=True)
        self._file = CheckedFile(self._stack.enter_context(self._part.open("wb")))
        self._columns = [_Column(fields[0], self._file)]
        self._columns += [_Column(field, self._spool()) for field in fields[1:]]
        self._names = {field.name for field in fields}
        self.records = 0

    @property
    def payload(self) -> int:
        """Bytes of numbers so far."""
        return sum(column.payload for column in self._columns)

    def write(self, record: Mapping[str, object]) -> None:
        """Add a record.

        Raises:
            InputError: A field is missing, unknown, or of another shape or type.
        """
        if record.keys() != self._names:
            raise InputError(
                f"expected the fields {', '.join(column.field.name for column in self._columns)}, "
                f"got {', '.join(map(str, record)) or 'none'}"
            )
        rows = [rows_of(column.field, record[column.field.name]) for column in self._columns]
        for column, numbers in zip(self._columns, rows, strict=True):
            column.write(numbers)
        self.records += 1

    def finish(self) -> ShardEntry:
        """Complete the file and move it to its place; nothing can be added any more."""
        file = self._file
        starts = [column.place(file) for column in self._columns]
        sections = tuple(
            column.section(start, file) for column, start in zip(self._columns, starts, strict=True)
        )
        checksums = file.align()
        table = file.checksums()
        size = checksums + len(table)
        file.complete(
            Header(self.records, size, sections, checksums, crc32(table)).to_bytes(), table
        )
        self._part.rename(self._path)
        self._stack.close()
        return ShardEntry(self._path.name, self.records, size)

    def abandon(self) -> None:
        """Remove what was written."""
        self._stack.close()

    def _spool(self) -> IO[bytes]:
        return self._stack.enter_context(tempfile.TemporaryFile(dir=self._path.parent))


class _Column:
    """The numbers of one field on their way into a shard."""

    def __init__(self, field: Field, target: CheckedFile | IO[bytes]) -> None:
        self.field = field
        self.payload = 0
        self._target = target
        self._start = target.position if isinstance(target, CheckedFile) else 0
        self._offsets = array("q", [0]) if field.ragged else array("q")

    def write(self, rows: NDArray[Any]) -> None:
        if rows.size:
            self._target.write(rows.data.cast("B"))
        self.payload += rows.nbytes
        if self.field.ragged:
            self._offsets.append(self._offsets[-1] + len(rows))

    def place(self, file: CheckedFile) -> int:
        """Bring the numbers into the file, where they are not there yet; where they begin."""
        if isinstance(self._target, CheckedFile):
            return self._start
        start = file.align()
        self._target.seek(0)
        while data := self._target.read(_COPIED_AT_ONCE):
            file.write(data)
        return start

    def section(self, start: int, file: CheckedFile) -> Section:
        """Write the offsets of a ragged field; where all of it lies."""
        if not self.field.ragged:
            return Section(self.field, start, self.payload)
        offsets = file.align()
        file.write(memoryview(self._offsets).cast("B"))
        return Section(self.field, start, self.payload, offsets, file.position - offsets)
