"""The header of a shard: one page of bytes from and to a checked description of the file.

``README.md`` beside this file has the picture. Everything that a header says is checked against
everything else it says and against the size of the file before any of it is used, so that a
damaged file is refused when it is opened, in time that does not depend on its size.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from deepseek.data.packed.field import DTYPES, MAX_DIMS, MAX_FIELDS, Field, check_fields
from deepseek.errors import InputError

__all__ = ["ALIGNMENT", "BLOCK_BYTES", "HEADER_BYTES", "VERSION", "Header", "Section"]

MAGIC = b"\x89DSPK\r\n\x1a"  # a byte that is no text, and line ends that a text transfer changes
VERSION = 1
HEADER_BYTES = 4096
ALIGNMENT = 64
BLOCK_BYTES = 1 << 20
_MAX_BLOCK_BYTES = 1 << 26  # verifying holds one block in memory

_PREAMBLE = struct.Struct("<8sIIQQIIQQII")
_ENTRY = struct.Struct("<48sHHI8IQQQQ8x")
_CRC_AT = 12
_RAGGED = 1
_OFFSET_BYTES = 8


@dataclass(frozen=True, slots=True)
class Section:
    """Where a field lies in the file, in bytes; fixed fields have no offsets."""

    field: Field
    data: int
    data_bytes: int
    offsets: int = 0
    offsets_bytes: int = 0

    @property
    def rows(self) -> int:
        """Rows of the payload: records, or all items of a ragged field."""
        return self.data_bytes // self.field.row_bytes

    def spans(self) -> Iterator[tuple[int, int]]:
        """Where its parts begin and end."""
        yield self.data, self.data + self.data_bytes
        if self.field.ragged:
            yield self.offsets, self.offsets + self.offsets_bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What the first page of a shard says.

    Attributes:
        records: How many records there are.
        file_bytes: The size of the file.
        sections: Where each field lies.
        checksums: Where the table of checksums begins; it ends the file.
        checksums_crc32: The checksum of that table.
        block_bytes: The bytes that each checksum covers; the last covers what is left.
    """

    records: int
    file_bytes: int
    sections: tuple[Section, ...]
    checksums: int
    checksums_crc32: int
    block_bytes: int = BLOCK_BYTES

    @property
    def blocks(self) -> int:
        """How many checksums there are."""
        return -(-(self.checksums - HEADER_BYTES) // self.block_bytes)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of a record."""
        return tuple(section.field for section in self.sections)

    def to_bytes(self) -> bytes:
        """The page, its own checksum included."""
        preamble = _PREAMBLE.pack(
            MAGIC,
            VERSION,
            0,
            self.records,
            self.file_bytes,
            len(self.sections),
            self.block_bytes,
            self.checksums,
            self.blocks,
            self.checksums_crc32,
            0,
        )
        entries = b"".join(_entry(section) for section in self.sections)
        page = bytearray((preamble + entries).ljust(HEADER_BYTES, b"\0"))
        page[_CRC_AT : _CRC_AT + 4] = crc32(page).to_bytes(4, "little")
        return bytes(page)

    @classmethod
    def from_bytes(cls, page: bytes, path: Path, file_bytes: int) -> "Header":
        """Read the page of the file ``path``, which is ``file_bytes`` long.

        Raises:
            InputError: The file is no shard, of another version, truncated or damaged.
        """
        if page[: len(MAGIC)] != MAGIC:
            raise InputError(
                f"{path}: expected a packed file, found other content",
                hint="deepseek data pack makes packed files",
            )
        if len(page) < HEADER_BYTES:
            raise InputError(f"{path}: expected {HEADER_BYTES} bytes of header, found {len(page)}")
        _, version, crc, records, size, fields, block, checksums, blocks, table_crc, _ = (
            _PREAMBLE.unpack_from(page)
        )
        if version != VERSION:
            raise InputError(
                f"{path}: expected version {VERSION} of the packed format, found {version}",
                hint="a newer deepseek-toolkit may read it; or pack the data again",
            )
        if crc != crc32(page[:_CRC_AT] + bytes(4) + page[_CRC_AT + 4 : HEADER_BYTES]):
            raise _damaged(path, "its header does not have the checksum it states")
        if size != file_bytes:
            raise InputError(
                f"{path}: expected {size} bytes as its header states, found {file_bytes}",
                hint="the file was cut short or added to; copy or pack it again",
            )
        if not 1 <= fields <= MAX_FIELDS or not 1 <= block <= _MAX_BLOCK_BYTES:
            raise _damaged(path, f"it states {fields} fields and blocks of {block} bytes")
        try:
            sections = tuple(_section(page, number) for number in range(fields))
            check_fields(section.field for section in sections)
        except (InputError, UnicodeDecodeError) as error:
            raise _damaged(path, str(error)) from error
        header = cls(records, size, sections, checksums, table_crc, block)
        problem = _inconsistency(header, blocks)
        if problem is not None:
            raise _damaged(path, problem)
        return header


def _entry(section: Section) -> bytes:
    field = section.field
    return _ENTRY.pack(
        field.name.encode(),
        DTYPES[field.dtype].code,
        len(field.shape),
        _RAGGED if field.ragged else 0,
        *field.shape,
        *[0] * (MAX_DIMS - len(field.shape)),
        section.data,
        section.data_bytes,
        section.offsets,
        section.offsets_bytes,
    )


def _section(page: bytes, number: int) -> Section:
    name, code, dims, flags, *rest = _ENTRY.unpack_from(page, _PREAMBLE.size + number * _ENTRY.size)
    dtype = {dtype.code: dtype.name for dtype in DTYPES.values()}.get(code)
    if dtype is None or flags & ~_RAGGED or dims > MAX_DIMS:
        raise InputError(f"field {number} has type {code}, {dims} dimensions and flags {flags:#x}")
    shape, (data, data_bytes, offsets, offsets_bytes) = rest[:MAX_DIMS], rest[MAX_DIMS:]
    field = Field(name.rstrip(b"\0").decode(), dtype, tuple(shape[:dims]), bool(flags & _RAGGED))
    return Section(field, data, data_bytes, offsets, offsets_bytes)


def _inconsistency(header: Header, blocks: int) -> str | None:
    for section in header.sections:
        rows, left = divmod(section.data_bytes, section.field.row_bytes)
        counts = (
            section.offsets_bytes == (header.records + 1) * _OFFSET_BYTES
            if section.field.ragged
            else rows == header.records and section.offsets == section.offsets_bytes == 0
        )
        if left or not counts:
            return f"field {section.field.name!r} does not have {header.records} records"
    if not _in_order([span for section in header.sections for span in section.spans()], header):
        return "its parts overlap or lie outside of the file"
    if header.checksums + 4 * header.blocks != header.file_bytes or header.blocks != blocks:
        return "its table of checksums does not end the file"
    return None


def _in_order(spans: Sequence[tuple[int, int]], header: Header) -> bool:
    end = HEADER_BYTES
    for start, stop in sorted(spans):
        if start < end or start % ALIGNMENT:
            return False
        end = stop
    return end <= header.checksums


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path}: expected a sound packed file, but {what}", hint="pack it again")
