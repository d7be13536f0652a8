"""Memory in large pages, where the system has them.

Every address that a kernel reads is looked up page by page, in a virtual machine in two tables.
A model's weights are read once a call: in pages of 4 KiB the look-ups took a third of the time of
its products on a Xeon, for one row as for a thousand. In pages of 2 MiB they take nothing.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.kernels.calls import needs_torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LARGE_PAGE", "ask_for_large_pages", "lasting", "lasting_cat", "lasting_empty"]

LARGE_PAGE = 2 << 20
"""Bytes of a large page, and of a part of those that some processors have instead."""

_SLAB = 64 << 20  # weights of a model share slabs: many are smaller than a page
_ALONE = 16 << 20  # what is larger has one of its own
_LINE = 64

_OFFERED = hasattr(mmap, "MADV_HUGEPAGE")


def lasting(tensor: Tensor) -> Tensor:
    """A contiguous copy in memory for what is kept for long and read often, as weights are."""
    if needs_torch(tensor):
        return tensor.clone(memory_format=torch.contiguous_format)
    return lasting_empty(tensor.shape, tensor.dtype).copy_(tensor)


def lasting_cat(parts: Sequence[Tensor]) -> Tensor:
    """The parts' last dimensions, one after the other, in such memory."""
    first = parts[0]
    if needs_torch(*parts):
        return torch.cat(tuple(parts), dim=-1)
    width = sum(part.shape[-1] for part in parts)
    return torch.cat(tuple(parts), -1, out=lasting_empty((*first.shape[:-1], width), first.dtype))


def lasting_empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor in no known state, in such memory, at a multiple of 64 bytes.

    It lies beside others of its kind; their memory is given back when the last of them is gone.
    """
    count = prod(shape)
    size = count * dtype.itemsize
    if not size or not _OFFERED:
        return torch.empty(shape, dtype=dtype)
    memory, place = _slabs.take(size)
    return torch.frombuffer(memory, dtype=dtype, count=count, offset=place).view(shape)


def ask_for_large_pages(address: int, size: int) -> None:
    """Ask for large pages from the beginning of a page on; it may have no effect."""
    _advise()(address, size)


class _Slabs:
    """Addresses that are given out one after the other; memory comes when they are written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory: Callable[[], mmap.mmap | None] = lambda: None  # tensors keep it alive
        self._next = 0

    def take(self, size: int) -> tuple[mmap.mmap, int]:
        """Memory and a place in it that has so many bytes."""
        if size > _ALONE:
            return _reserve(size)
        with self._lock:
            memory = self._memory()
            if memory is None or len(memory) - self._next < size:
                memory, self._next = _reserve(_SLAB)
                self._memory = weakref.ref(memory)
            place = self._next
            self._next = -(-(place + size) // _LINE) * _LINE
        return memory, place


def _reserve(size: int) -> tuple[mmap.mmap, int]:
    """New memory, and where its first large page begins."""
    memory = mmap.mmap(-1, size + LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    begin = -address % LARGE_PAGE
    ask_for_large_pages(address + begin, size)
    return memory, begin


@lru_cache(maxsize=1)
def _advise() -> Callable[[int, int], object]:
    """A function (address, bytes) that asks for large pages."""
    if not _OFFERED:
        return lambda _address, _size: None
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return lambda address, size: madvise(address, size, mmap.MADV_HUGEPAGE)


_slabs = _Slabs()
