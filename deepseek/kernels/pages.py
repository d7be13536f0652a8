"""Memory in large pages, where the system has them.

Every address that a kernel reads is looked up page by page, in a virtual machine in two tables.
A model's weights are read once a call, and look-ups in pages of 4 KiB took up to a third of the
time of its products on a Xeon.

A page of 2 MiB that no process had before is slow to come by, above all in a virtual machine whose
host has to find it first: up to 5 ms, which for a model of 340 MB more than doubled the time of its
first compilation. So memory begins in small pages, which are soon there; when it has been left
alone for a second, a thread of its own has the system gather it into large ones, in its place.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
import time
import weakref
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.kernels.calls import needs_torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "LARGE_PAGE",
    "RESERVED",
    "address_of",
    "gather_later",
    "lasting",
    "lasting_cat",
    "lasting_empty",
    "reserve",
]

LARGE_PAGE = 2 << 20
"""Bytes of a large page, and of a part of those that some processors have instead."""

RESERVED = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
"""For ``mmap``: addresses that count as memory in use only when they are written.

Otherwise Linux refuses to fork a process that has reserved more than the machine has.
"""
if sys.platform == "linux":
    RESERVED |= 0x4000  # MAP_NORESERVE, which mmap names only from Python 3.12 on

_SLAB = 64 << 20  # weights of a model share slabs: many are smaller than a page
_ALONE = 16 << 20  # what is larger has one of its own
_LINE = 64

_LEFT_ALONE = 1.0  # seconds
_MADV_COLLAPSE = 25  # Linux 6.1; mmap has no name for it yet

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


def reserve(size: int) -> tuple[mmap.mmap, int]:
    """New memory, and where its first large page begins; its last one is whole, too."""
    memory = mmap.mmap(-1, size + 2 * LARGE_PAGE, flags=RESERVED)
    return memory, -address_of(memory) % LARGE_PAGE


def address_of(memory: mmap.mmap) -> int:
    """Where memory begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def gather_later(memory: mmap.mmap, begin: int, end: int) -> None:
    """Have memory gathered into large pages once a second has passed in which none was announced.

    Args:
        memory: What it is part of; it may be gone by then.
        begin: Where in it the first large page begins.
        end: Where what is used ends; what was announced from the same place on is replaced.
    """
    _gathering.announce(memory, begin, end)


class _Gathering:
    """What is to be gathered, and the thread that does it, which ends when it is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[int, tuple[Callable[[], mmap.mmap | None], int]] = {}
        self._due = 0.0
        self._at_work = False

    def announce(self, memory: mmap.mmap, begin: int, end: int) -> None:
        """Note a part, and see to it that there is a thread."""
        if not _OFFERED:
            return
        address = address_of(memory)
        with self._lock:
            self._parts[address + begin] = weakref.ref(memory), address + end
            self._due = time.monotonic() + _LEFT_ALONE
            if not self._at_work:
                self._at_work = True
                threading.Thread(target=self._work, name="deepseek-pages", daemon=True).start()

    def _work(self) -> None:
        while (wait := self._due - time.monotonic()) > 0 or self._take_turn():
            time.sleep(max(wait, 0.0))

    def _take_turn(self) -> bool:
        """Gather what was announced; False if that was nothing, and the thread is to end."""
        with self._lock:
            parts, self._parts = self._parts, {}
            self._at_work = bool(parts)
        for address, (find, end) in parts.items():
            for page in range(address, end - LARGE_PAGE // 2 + 1, LARGE_PAGE):
                memory = find()  # is held for no longer than a page takes
                if memory is None:
                    break
                _madvise()(page, LARGE_PAGE, _MADV_COLLAPSE)
                del memory
        return bool(parts)


class _Slabs:
    """Addresses that are given out one after the other; memory comes when they are written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory: Callable[[], mmap.mmap | None] = lambda: None  # tensors keep it alive
        self._begin = self._next = 0

    def take(self, size: int) -> tuple[mmap.mmap, int]:
        """Memory and a place in it that has so many bytes."""
        if size > _ALONE:
            memory, place = reserve(size)
            gather_later(memory, place, place + size)
            return memory, place
        with self._lock:
            held = self._memory()
            if held is None or len(held) - self._next < size:
                held, self._begin = reserve(_SLAB)
                self._next = self._begin
                self._memory = weakref.ref(held)
            place = self._next
            self._next = -(-(place + size) // _LINE) * _LINE
            gather_later(held, self._begin, self._next)
        return held, place


@lru_cache(maxsize=1)
def _madvise() -> Callable[[int, int, int], object]:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return madvise  # gives up the GIL; what it refuses stays as it is


def _begin_anew() -> None:
    """A forked process has no thread that gathers, and another may have held a lock."""
    global _slabs, _gathering
    _slabs, _gathering = _Slabs(), _Gathering()


_slabs = _Slabs()
_gathering = _Gathering()
os.register_at_fork(after_in_child=_begin_anew)
