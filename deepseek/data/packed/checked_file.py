"""A file written from front to back that knows the checksum of each of its blocks."""

import os
from array import array
from typing import IO
from zlib import crc32

from deepseek.data.packed.layout import ALIGNMENT, BLOCK_BYTES, HEADER_BYTES

__all__ = ["CheckedFile"]


class CheckedFile:
    """Everything behind the header of a shard, on its way to the disk.

    Attributes:
        position: Where the next byte goes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.position = file.seek(HEADER_BYTES)
        self._sums = array("I")
        self._sum = 0
        self._room = BLOCK_BYTES

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        rest = memoryview(data)
        while rest:
            part = rest[: self._room]
            self._file.write(part)
            self._sum = crc32(part, self._sum)
            self.position += len(part)
            self._room -= len(part)
            if not self._room:
                self._end_block()
            rest = rest[len(part) :]

    def align(self) -> int:
        """Fill up with zeros to where a part may begin; that place comes back."""
        self.write(bytes(-self.position % ALIGNMENT))
        return self.position

    def checksums(self) -> bytes:
        """The checksums of all blocks as they stand in the file; the last block ends here."""
        if self._room < BLOCK_BYTES:
            self._end_block()
        return self._sums.tobytes()

    def complete(self, header: bytes, table: bytes) -> None:
        """Write the table of checksums to the end and the header to the front, and to the disk."""
        self._file.write(table)
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _end_block(self) -> None:
        self._sums.append(self._sum)
        self._sum, self._room = 0, BLOCK_BYTES
