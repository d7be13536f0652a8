"""Read a whole data set once and compare every block with its checksum."""

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from deepseek.data.packed.layout import HEADER_BYTES, Header
from deepseek.data.packed.mapping import read_header
from deepseek.progress import Progress, silent

__all__ = ["Damage", "verify_shard"]

_OFFSETS_AT_ONCE = 1 << 17


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a file that are not what was written: from ``start`` on, ``bytes`` of them."""

    file: Path
    start: int
    bytes: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what} in the {self.bytes} bytes from {self.start} on"


def verify_shard(path: Path, progress: Progress = silent) -> list[Damage]:
    """Compare each block of a shard with its checksum, and its offsets with each other.

    Memory does not grow with the file.

    Raises:
        InputError: The file cannot be read, or its header is no sound one.
    """
    header = read_header(path)
    with path.open("rb", buffering=0) as file:
        table = os.pread(file.fileno(), header.file_bytes - header.checksums, header.checksums)
        if crc32(table) != header.checksums_crc32:
            return [Damage(path, header.checksums, len(table), "the table of checksums differs")]
        sums = array("I", table)
        damages = list(_bad_blocks(path, file.fileno(), header, sums, progress))
        return damages or list(_bad_offsets(path, file.fileno(), header))


def _bad_blocks(
    path: Path, handle: int, header: Header, sums: "array[int]", progress: Progress
) -> Iterator[Damage]:
    for number, expected in enumerate(sums):
        start = HEADER_BYTES + number * header.block_bytes
        size = min(header.block_bytes, header.checksums - start)
        if crc32(os.pread(handle, size, start)) != expected:
            yield Damage(path, start, size, "checksum differs")
        progress(f"verifying {path.name}", number + 1, len(sums))


def _bad_offsets(path: Path, handle: int, header: Header) -> Iterator[Damage]:
    """Offsets that do not grow; a writer of ours makes none, but one of others may."""
    for section in header.sections:
        last = 0
        for at in range(0, section.offsets_bytes, _OFFSETS_AT_ONCE):
            start = section.offsets + at
            size = min(_OFFSETS_AT_ONCE, section.offsets_bytes - at)
            offsets = np.frombuffer(os.pread(handle, size, start), dtype=np.int64)
            if offsets[0] < last or (np.diff(offsets) < 0).any():
                yield Damage(path, start, size, f"offsets of {section.field.name!r} go backwards")
            last = int(offsets[-1])
        if section.field.ragged and last != section.rows:
            yield Damage(
                path,
                section.offsets,
                section.offsets_bytes,
                f"offsets of {section.field.name!r} end at {last}, not at {section.rows}",
            )
