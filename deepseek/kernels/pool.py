"""Memory of large results, which is used again when their tensors are gone.

The C library gives a large block back to the system as soon as it is freed, so that the next one
consists of pages that were never touched, which the system has to find and to clear: with logits of
206 MB a call of GPT-2 took 2.05 s on a Xeon, and 1.8 s in memory that was there already.
"""

from __future__ import annotations

import weakref
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import torch

from deepseek.kernels.pages import gather_later, reserve

if TYPE_CHECKING:
    import mmap

    from torch import Tensor

__all__ = ["LARGE", "Pool", "pooled"]

LARGE = 8 << 20
"""Bytes from which on the C library cannot be relied on to keep memory."""

_MOST_FREE = 512 << 20  # bytes that are kept for results to come

_Memory = tuple[int, "mmap.mmap", int]  # its size from a place on


def pooled(made: Tensor) -> Tensor:
    """A tensor that has just been made and not yet written, in such memory if it is large."""
    return _pool.like(made) if made.nbytes >= LARGE and made.is_cpu else made


class Pool:
    """Memory that is lent to tensors and comes back when their storage goes.

    It comes back wherever the last reference is dropped, in the middle of anything: there are no
    locks, and each change is a single step of Python's.
    """

    def __init__(self) -> None:
        self._free: list[_Memory] = []
        self._lent: dict[int, tuple[weakref.ref[memoryview], _Memory]] = {}
        self._numbers = count()

    def like(self, made: Tensor) -> Tensor:
        """A tensor of the same dtype, shape and strides, in no known state."""
        length = made.untyped_storage().nbytes()
        lent = self._take(length)
        _, memory, begin = lent
        block = memoryview(memory)[begin : begin + length]
        number = next(self._numbers)
        self._lent[number] = weakref.ref(block, partial(self._give_back, number)), lent
        flat = torch.frombuffer(block, dtype=made.dtype)
        return flat.as_strided(made.shape, made.stride())

    @property
    def free(self) -> int:
        """Bytes that nobody uses."""
        return sum(size for size, *_ in tuple(self._free))

    def _take(self, length: int) -> _Memory:
        fitting = [each for each in tuple(self._free) if length <= each[0] <= 2 * length]
        for each in sorted(fitting, key=lambda memory: memory[0]):
            try:
                self._free.remove(each)
            except ValueError:  # another thread was faster
                continue
            return each
        memory, begin = reserve(length)
        gather_later(memory, begin, begin + length)
        return len(memory) - begin, memory, begin

    def _give_back(self, number: int, _block: object) -> None:
        self._free.append(self._lent.pop(number)[1])
        while self.free > _MOST_FREE:
            del self._free[:1]


_pool = Pool()
