"""Arrays whose first dimension counts records: .npy, .npz, and the idx files of MNIST."""

import gzip
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from deepseek.data.packing.item import Item, Source, name_of
from deepseek.errors import InputError

__all__ = ["is_array_file", "open_arrays"]

_READ_AT_ONCE = 1 << 20
_IDX_NAME = re.compile(r"idx[1-9]\b|idx[1-9]-")
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_IDX_COLUMNS = {1: "label", 3: "image"}  # by number of dimensions, as MNIST has them
_NPY_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True, slots=True)
class _Array:
    """An array in a file, read row by row.

    Attributes:
        name: The column it becomes.
        origin: The file, and within an archive the name there.
        open: Opens the file where the numbers begin.
        dtype: Their type.
        shape: Records first.
    """

    name: str
    origin: str
    open: Callable[[], IO[bytes]]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def rows(self) -> Iterator[NDArray[Any]]:
        size = self.dtype.itemsize * prod(self.shape[1:])
        at_once = max(1, _READ_AT_ONCE // max(size, 1))
        with _readable(self.origin), self.open() as file:
            for start in range(0, self.shape[0], at_once):
                count = min(at_once, self.shape[0] - start)
                data = file.read(count * size)
                if len(data) < count * size:
                    raise InputError(
                        f"{self.origin}: expected {self.shape[0]} records as its header states, "
                        f"found fewer"
                    )
                rows = np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])
                yield from rows.astype(self.dtype.newbyteorder("="), copy=False)


def is_array_file(path: Path) -> bool:
    """Whether the name of a file says that it holds an array."""
    name = path.name.lower()
    return name.endswith((".npy", ".npz")) or _IDX_NAME.search(name) is not None


def open_arrays(files: Sequence[Path]) -> Source:
    """The rows of arrays of equal length, each array a column.

    An .npz file has its own names, an .npy file is a column of its own name, and of idx files the
    one of images is ``image`` and the one of numbers ``label``.

    Raises:
        InputError: A file is damaged or holds Python objects, or lengths or names clash.
    """
    arrays = [array for path in files for array in _arrays_of(path)]
    names = [array.name for array in arrays]
    if len(set(names)) < len(names):
        raise InputError(
            f"expected arrays of different names, found {', '.join(names)}",
            hint="--split takes the files of one part",
        )
    lengths = {array.shape[0] for array in arrays}
    if len(lengths) != 1:
        found = ", ".join(f"{array.name} {array.shape[0]}" for array in arrays) or "no array"
        raise InputError(f"expected arrays with as many records each, found {found}")
    return Source(
        name=name_of(files), items=lambda: _items(arrays), files=tuple(files), count=lengths.pop()
    )


def _items(arrays: Sequence[_Array]) -> Iterator[Item]:
    names = [array.name for array in arrays]
    together = zip(*(array.rows() for array in arrays), strict=True)
    for number, values in enumerate(together):
        yield Item(dict(zip(names, values, strict=True)), f"{arrays[0].origin}:{number + 1}")


def _arrays_of(path: Path) -> list[_Array]:
    name = path.name.lower()
    if name.endswith(".npz"):
        return _npz(path)
    if name.endswith(".npy"):
        return [_npy(path.stem, str(path), lambda: path.open("rb"))]
    return [_idx(path)]


def _npz(path: Path) -> list[_Array]:
    def opener(member: str) -> Callable[[], IO[bytes]]:
        def opened() -> IO[bytes]:
            with zipfile.ZipFile(path) as archive:
                return archive.open(member)  # keeps the file open until it is closed itself

        return opened

    with _readable(str(path)), zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
    return [_npy(name.removesuffix(".npy"), f"{path}:{name}", opener(name)) for name in members]


def _npy(name: str, origin: str, opened: Callable[[], IO[bytes]]) -> _Array:
    with _readable(origin), opened() as file:
        version = npy.read_magic(file)
        if version not in _NPY_HEADERS:
            raise InputError(f"{origin}: expected .npy version 1 or 2, found {version}")
        shape, fortran, dtype = _NPY_HEADERS[version](file)
        start = file.tell()
    if fortran and len(shape) > 1:
        raise InputError(
            f"{origin}: expected rows one after the other, found columns (Fortran order)",
            hint="np.save(path, np.ascontiguousarray(array)) writes rows",
        )

    def at_numbers() -> IO[bytes]:
        file = opened()
        file.read(start)
        return file

    return _checked(_Array(name, origin, at_numbers, dtype, shape))


def _idx(path: Path) -> _Array:
    def opened() -> IO[bytes]:
        return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")

    with _readable(str(path)), opened() as file:
        start = file.read(4)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_TYPES:
            raise InputError(f"{path}: expected an idx file, found other content")
        kind, dims = start[2:]
        sizes = np.frombuffer(file.read(4 * dims), ">u4")
        if len(sizes) < dims:
            raise InputError(f"{path}: expected {dims} sizes, found {len(sizes)}")
    column = _IDX_COLUMNS.get(dims, path.name.partition(".")[0])

    def at_numbers() -> IO[bytes]:
        file = opened()
        file.read(4 + 4 * dims)
        return file

    shape = tuple(map(int, sizes))
    return _checked(_Array(column, str(path), at_numbers, np.dtype(_IDX_TYPES[kind]), shape))


def _checked(array: _Array) -> _Array:
    if array.dtype.kind not in "biuf":
        raise InputError(f"{array.origin}: expected numbers, found {array.dtype}")
    if not array.shape or 0 in array.shape:
        raise InputError(f"{array.origin}: expected records, found the shape {list(array.shape)}")
    return array


@contextmanager
def _readable(origin: str) -> Iterator[None]:
    """Say of any file that it is damaged, whatever notices it."""
    try:
        yield
    except InputError:
        raise
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, NotImplementedError,
            RuntimeError, KeyError) as error:  # fmt: skip
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{origin}: expected an array, found {reason}") from error
