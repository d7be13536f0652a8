"""What a record consists of: named fields, each with a type and a shape."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

from deepseek.errors import InputError

__all__ = ["DTYPES", "MAX_DIMS", "MAX_FIELDS", "MAX_NAME_BYTES", "DType", "Field", "check_fields"]

MAX_FIELDS = 31  # what fits into a header of one page
MAX_NAME_BYTES = 48
MAX_DIMS = 8
_MAX_SIZE = 2**32 - 1


@dataclass(frozen=True, slots=True)
class DType:
    """A type of numbers.

    Attributes:
        name: As torch calls it.
        code: Its number in a header; never reused.
        numpy: The numpy type with the same bytes; bfloat16, which numpy lacks, travels as uint16.
        size: Bytes of one number.
    """

    name: str
    code: int
    numpy: str
    size: int


DTYPES = {
    dtype.name: dtype
    for dtype in (
        DType("uint8", 1, "|u1", 1),
        DType("int8", 2, "|i1", 1),
        DType("uint16", 3, "<u2", 2),
        DType("int16", 4, "<i2", 2),
        DType("uint32", 5, "<u4", 4),
        DType("int32", 6, "<i4", 4),
        DType("uint64", 7, "<u8", 8),
        DType("int64", 8, "<i8", 8),
        DType("float16", 9, "<f2", 2),
        DType("bfloat16", 10, "<u2", 2),
        DType("float32", 11, "<f4", 4),
        DType("float64", 12, "<f8", 8),
        DType("bool", 13, "|b1", 1),
    )
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of every record.

    Attributes:
        name: How the field is asked for.
        dtype: The name of its type, a key of ``DTYPES``.
        shape: The shape of the field; of a ragged one, of each of its items.
        ragged: Whether every record has a number of items of its own, as texts have tokens.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    ragged: bool = False

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem is not None:
            raise InputError(f"field {self.name!r:.60}: expected {problem}")

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of the payload: a record, or an item of a ragged field."""
        return DTYPES[self.dtype].size * prod(self.shape)

    def as_json(self) -> dict[str, Any]:
        """The field as plain JSON values."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "ragged": self.ragged,
        }

    def __str__(self) -> str:
        sizes = [*(["*"] if self.ragged else []), *map(str, self.shape)]
        return (
            f"{self.name}: {self.dtype}[{', '.join(sizes)}]"
            if sizes
            else (f"{self.name}: {self.dtype}")
        )


def check_fields(fields: Iterable[Field]) -> tuple[Field, ...]:
    """The fields, if a file can have them.

    Raises:
        InputError: There are none or too many, or two share a name.
    """
    fields = tuple(fields)
    if sys.byteorder != "little":
        raise InputError("expected a little-endian machine, as the packed format is little-endian")
    if not 1 <= len(fields) <= MAX_FIELDS:
        raise InputError(f"expected 1 to {MAX_FIELDS} fields, got {len(fields)}")
    names = [field.name for field in fields]
    if len(set(names)) < len(names):
        raise InputError(f"expected fields of different names, got {', '.join(names)}")
    return fields


def _problem(field: Field) -> str | None:
    if not (isinstance(field.name, str) and field.name.isprintable() and field.name.strip()):
        return "a name of printable characters"
    if len(field.name.encode(errors="replace")) > MAX_NAME_BYTES:
        return f"a name of at most {MAX_NAME_BYTES} bytes"
    if field.dtype not in DTYPES:
        return f"one of the types {', '.join(DTYPES)}, got {field.dtype!r:.40}"
    if len(field.shape) > MAX_DIMS:
        return f"at most {MAX_DIMS} dimensions, got {len(field.shape)}"
    if not all(isinstance(size, int) and 1 <= size <= _MAX_SIZE for size in field.shape):
        return f"sizes from 1 to {_MAX_SIZE}, got {field.shape}"
    return None
