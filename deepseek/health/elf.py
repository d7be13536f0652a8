"""Reading text out of a shared library without loading it.

Loading would run the library's own code and needs everything it links to. The layout read here is
the 64-bit form of the Executable and Linking Format (System V ABI, chapter 4).
"""

import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["ElfError", "matching_constant"]

_HEADER_BYTES = 64
_SECTION = struct.Struct("<IIQQQQIIQQ")
_PLACE_OF_SECTIONS = struct.Struct("<Q")  # at byte 0x28
_COUNT_OF_SECTIONS = struct.Struct("<HHH")  # at byte 0x3A: size of an entry, entries, name table
_CONSTANTS = b".rodata"


class ElfError(ValueError):
    """The file is no shared library we can read; the message says what is wrong with it."""


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


def matching_constant(path: Path, pattern: re.Pattern[bytes]) -> str | None:
    """What the first group of ``pattern`` finds among a library's constants; None for nothing.

    Args:
        path: The shared library.
        pattern: Looked for in its read-only data.

    Raises:
        ElfError: The file is no 64-bit little-endian ELF file, or ends before its contents do.
        OSError: The file cannot be read.
    """
    if path.stat().st_size < _HEADER_BYTES:
        raise ElfError("is too short for a library")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image,
    ):
        for section in _constant_sections(image):
            match = pattern.search(image, section.offset, section.offset + section.size)
            if match:
                return match[1].decode("ascii", errors="replace")
    return None


def _constant_sections(image: mmap.mmap) -> Iterator[_Section]:
    if image[:4] != b"\x7fELF":
        raise ElfError("is no ELF file")
    if image[4:6] != b"\x02\x01":
        raise ElfError("is not for a 64-bit little-endian processor")
    (table,) = _PLACE_OF_SECTIONS.unpack_from(image, 0x28)
    entry, count, name_index = _COUNT_OF_SECTIONS.unpack_from(image, 0x3A)
    if table == 0 or count == 0:
        raise ElfError("has no section table")
    if entry != _SECTION.size or name_index >= count or table + entry * count > len(image):
        raise ElfError("is truncated or damaged: its section table lies outside the file")
    sections = [_Section(*_SECTION.unpack_from(image, table + entry * n)) for n in range(count)]
    names = sections[name_index]
    for section in sections:
        begin = names.offset + section.name
        if image[begin : begin + len(_CONSTANTS)] == _CONSTANTS:
            if section.offset + section.size > len(image):
                raise ElfError("is truncated or damaged: its constants lie outside the file")
            yield section
