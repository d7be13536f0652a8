"""One piece of memory for all intermediate tensors of a program.

Addresses are reserved for more than any run will need, and cost nothing until they are written.
While a run is recorded, a tensor's block is taken from the lowest gap that holds it and goes back
when the last reference to the tensor does: what is alive when decides the layout, as it will be
in every replay.
"""

from __future__ import annotations

import mmap
import weakref
from bisect import bisect_left
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.kernels.pages import LARGE_PAGE, RESERVED, address_of, gather_later

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Arena", "bounds"]

_MOST = 1 << 36  # of 128 TiB that a process can address, so that there may be many arenas
_LEAST = 1 << 30
_LINE = 64


class Arena:
    """Reserved memory, and the blocks of it that are in use.

    Attributes:
        peak: Bytes up to the end of the furthest block that was ever taken.
    """

    def __init__(self) -> None:
        self._map = _reserve()
        self._bytes = memoryview(self._map)
        address = address_of(self._map)
        self._lead = -address % LARGE_PAGE
        self._base = address + self._lead
        self._size = len(self._map) - self._lead
        self._blocks: list[tuple[int, int]] = []  # begin and end, in order
        self._watched: dict[int, weakref.ref[Any]] = {}
        self.peak = 0

    def empty(
        self, size: Sequence[int], stride: Sequence[int] | None, dtype: torch.dtype
    ) -> Tensor:
        """A tensor in a block of its own, contiguous if the stride is None.

        Raises:
            MemoryError: No gap is large enough.
        """
        if 0 in size:
            made = torch.empty(size, dtype=dtype)
            return made if stride is None else made.as_strided(size, stride)
        length = (prod(size) if stride is None else _reach(size, stride)) * dtype.itemsize
        begin = self._take(length)
        block = self._block(begin, length)
        self._watched[begin] = weakref.ref(block, partial(self._give_back, begin))
        flat = torch.frombuffer(block, dtype=dtype)
        return flat.view(*size) if stride is None else flat.as_strided(size, stride)

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in the arena."""
        return 0 <= tensor.data_ptr() - self._base < self._size and tensor.numel() > 0

    def alias(self, tensor: Tensor) -> Tensor:
        """The same place as a tensor of its own that keeps no block from being given back.

        Its storage ends where it ends: some operators copy all of a storage.
        """
        length = _reach(tensor.shape, tensor.stride()) * tensor.dtype.itemsize
        block = self._block(tensor.data_ptr() - self._base, length)
        flat = torch.frombuffer(block, dtype=tensor.dtype)
        return flat.as_strided(tensor.shape, tensor.stride())

    def _block(self, begin: int, length: int) -> memoryview:
        begin += self._lead
        return self._bytes[begin : begin + length]

    def _take(self, length: int) -> int:
        begin = 0
        for place, (used, end) in enumerate(self._blocks):
            if used - begin >= length:
                self._blocks.insert(place, (begin, _up(begin + length)))
                break
            begin = end
        else:
            if self._size - begin < length:
                raise MemoryError(f"expected {length} bytes in the arena, got none left")
            self._blocks.append((begin, _up(begin + length)))
        if begin + length > self.peak:
            self.peak = begin + length
            gather_later(self._map, self._lead, self._lead + self.peak)
        return begin

    def _give_back(self, begin: int, _block: object) -> None:
        del self._watched[begin]
        del self._blocks[bisect_left(self._blocks, (begin,))]


def bounds(tensor: Tensor) -> tuple[int, int]:
    """Addresses of the first byte of a tensor and behind its last one."""
    low = tensor.data_ptr()
    if not tensor.numel():
        return low, low
    return low, low + _reach(tensor.shape, tensor.stride()) * tensor.dtype.itemsize


def _reach(size: Sequence[int], stride: Sequence[int]) -> int:
    """Elements from the first to the last of a tensor that is not empty."""
    return 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))


def _up(address: int) -> int:
    return -(-address // _LINE) * _LINE


def _reserve() -> mmap.mmap:
    """As much address space as the system gives, without memory behind it yet."""
    size = _MOST
    while True:
        try:
            return mmap.mmap(-1, size, flags=RESERVED)
        except (OSError, ValueError):
            size //= 2
            if size < _LEAST:
                raise
