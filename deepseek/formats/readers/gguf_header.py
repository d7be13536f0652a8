"""The header of a GGUF file, every count in it checked against what the file can hold.

Layout: magic, version, number of tensors, number of keys; the keys with their values; name,
sizes, type and offset of each tensor; then the data, aligned.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

from deepseek.errors import InputError

__all__ = ["GgufHeader", "GgufTensor", "read_gguf_header"]

_VERSIONS = (2, 3)
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_DEEPEST_ARRAY = 4
_MOST_AXES = 8
_SMALLEST_KEY = 8 + 4 + 1
_SMALLEST_TENSOR = 8 + 4 + 4 + 8


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufTensor:
    """Where a tensor lies.

    Attributes:
        shape: Its sizes in elements, outermost first as torch has them.
        kind: The number of its type.
        offset: Where its data begin in the file.
    """

    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufHeader:
    """What the file says of itself and of its tensors."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_gguf_header(path: Path) -> GgufHeader:
    """The header of a GGUF file.

    Raises:
        InputError: The header is damaged, cut off, or of a version that is not read.
    """
    with path.open("rb") as file:
        cursor = _Cursor(path, file, path.stat().st_size)
        cursor.take(4)
        version = cursor.number("I")
        if version not in _VERSIONS:
            raise InputError(f"{path}: expected GGUF version 2 or 3, found {version}")
        tensor_count, key_count = cursor.number("Q"), cursor.number("Q")
        cursor.check_count(key_count, _SMALLEST_KEY, "keys")
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = cursor.text()
            metadata[key] = cursor.value(cursor.number("I"))
        cursor.check_count(tensor_count, _SMALLEST_TENSOR, "tensors")
        tensors = dict(_tensor(cursor) for _ in range(tensor_count))
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise InputError(f"{path}: expected an alignment of a power of two, got {alignment!r}")
        begin = -(-file.tell() // alignment) * alignment
    return GgufHeader(
        metadata=metadata,
        tensors={
            name: GgufTensor(shape=shape, kind=kind, offset=begin + offset)
            for name, (shape, kind, offset) in tensors.items()
        },
    )


def _tensor(cursor: "_Cursor") -> tuple[str, tuple[tuple[int, ...], int, int]]:
    name = cursor.text()
    axes = cursor.number("I")
    if axes > _MOST_AXES:
        raise InputError(f"{cursor.path}: {name[:60]!r} has {axes} axes: damaged")
    shape = tuple(reversed([cursor.number("Q") for _ in range(axes)]))
    if prod(shape) > cursor.size * 64:
        raise InputError(f"{cursor.path}: {name[:60]!r} of sizes {shape} cannot be in this file")
    return name, (shape, cursor.number("I"), cursor.number("Q"))


@dataclass(slots=True)
class _Cursor:
    path: Path
    file: IO[bytes]
    size: int

    def take(self, length: int) -> bytes:
        self.check_count(length, 1, "bytes")
        return self.file.read(length)

    def check_count(self, count: int, smallest: int, what: str) -> None:
        left = self.size - self.file.tell()
        if count * smallest > left:
            raise InputError(
                f"{self.path}: the GGUF header promises {count} {what}, the file has {left} bytes "
                "left: damaged or cut off"
            )

    def number(self, code: str) -> int:
        value = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]
        assert isinstance(value, int)
        return value

    def text(self) -> str:
        raw = self.take(self.number("Q"))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: the GGUF header holds text that is not UTF-8") from None

    def value(self, kind: int, depth: int = 0) -> object:
        if kind in _SCALARS:
            code = f"<{_SCALARS[kind]}"
            return struct.unpack(code, self.take(struct.calcsize(code)))[0]
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY or depth > _DEEPEST_ARRAY:
            raise InputError(f"{self.path}: the GGUF header holds a value of unknown type {kind}")
        inner, count = self.number("I"), self.number("Q")
        if inner in _SCALARS:
            self.check_count(count, struct.calcsize(f"<{_SCALARS[inner]}"), "values")
            code = f"<{count}{_SCALARS[inner]}"
            return list(struct.unpack(code, self.take(struct.calcsize(code))))
        self.check_count(count, 8, "values")
        return [self.value(inner, depth + 1) for _ in range(count)]
