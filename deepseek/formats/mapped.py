"""A tensor whose memory is a stretch of a file.

Each tensor has a mapping of its own, released with the tensor: whoever walks a checkpoint keeps
the pages of the tensors in hand, not those of the whole file.
"""

import ctypes
import mmap
import os
import sys
import weakref
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch

from deepseek.errors import InputError

__all__ = ["map_tensor", "row_major_strides"]

# Without it the kernel refuses a private mapping larger than memory, though none of it is written.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def map_tensor(
    path: Path,
    *,
    offset: int,
    dtype: torch.dtype,
    shape: Sequence[int],
    strides: Sequence[int] | None = None,
) -> torch.Tensor:
    """The tensor that begins ``offset`` bytes into the file.

    Pages are read when they are touched and are private: writing to the tensor changes neither
    the file nor another tensor.

    Args:
        path: The file.
        offset: Where the first element lies, in bytes.
        dtype: Type of the elements.
        shape: Sizes.
        strides: Steps in elements; row-major when not given.

    Raises:
        InputError: The tensor does not lie inside the file.
    """
    strides = row_major_strides(shape) if strides is None else strides
    if 0 in shape:
        return torch.empty_strided(shape, strides, dtype=dtype)
    last = sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    length = (last + 1) * dtype.itemsize
    size = path.stat().st_size
    if min(offset, *shape, *strides, 0) < 0 or offset + length > size:
        raise InputError(
            f"{path}: a tensor of {length} bytes at {offset} does not fit a file of {size} bytes"
        )
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    pages = _map(path, start, offset - start + length)
    flat = torch.frombuffer(pages, dtype=dtype, count=last + 1, offset=offset - start)
    tensor = flat.as_strided(shape, strides)
    return tensor if offset % dtype.itemsize == 0 else tensor.clone()


def row_major_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Steps in elements of a contiguous tensor of that shape."""
    return tuple(prod(max(size, 1) for size in shape[axis + 1 :]) for axis in range(len(shape)))


def _map(path: Path, start: int, length: int) -> ctypes.Array[ctypes.c_uint8]:
    """Like ``mmap.mmap``, which would keep a descriptor open for every tensor of a model."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        address = _libc.mmap(
            None,
            length,
            mmap.PROT_READ | mmap.PROT_WRITE,
            mmap.MAP_PRIVATE | _NO_RESERVE,
            descriptor,
            start,
        )
        if address == ctypes.c_void_p(-1).value:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)
    pages = (ctypes.c_uint8 * length).from_address(address)
    # At exit tensors may outlive the finalizer, and the process ends its mappings anyway.
    weakref.finalize(pages, _libc.munmap, address, length).atexit = False
    return pages
