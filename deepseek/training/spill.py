"""Activations wait for their backward pass in a file instead of in memory.

The file is mapped, so that what was written can be read as tensors without another copy, and the
pages are given back as soon as they are written: they are then in the kernel's cache, which it
empties to the disk when it needs room. Weights, and tensors too small to matter, stay where they
are, and so does everything once the file is full.
"""

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.units import format_bytes

__all__ = ["Spill"]

_LEAST = 1 << 16  # bytes below which a tensor stays in memory
_PAGE = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class _Ticket:
    """What autograd keeps in place of a tensor."""

    pages: torch.Tensor
    dtype: torch.dtype
    size: torch.Size
    stride: tuple[int, ...]
    offset: int
    device: torch.device


class Spill:
    """A file that takes what autograd saves.

    The file has no name: it is gone when the process is, however it ends.

    Args:
        folder: On which disk it lies.
        limit: How many bytes it takes at most.

    Attributes:
        most: The most that lay in it at once.

    Raises:
        InputError: The disk has no room for it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._limit = limit // _PAGE * _PAGE
        self.most = 0
        self._used = 0
        self._live = 0
        self._known: dict[tuple[int, int], torch.Tensor] = {}
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, self._limit)
            except OSError as error:
                raise InputError(
                    f"expected {format_bytes(limit)} of disk at {folder} for --offload: "
                    f"{error.strerror}",
                    hint="lower --swap_fraction, or name an --output on another disk",
                ) from error
            self._map = mmap.mmap(file.fileno(), self._limit)
        self._bytes = torch.frombuffer(self._map, dtype=torch.uint8)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """What is saved for backward inside goes into the file."""
        self._known.clear()  # a weight that is gathered anew has its old place and new values
        with torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack):
            yield
        self._known.clear()

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor | _Ticket:
        storage = tensor.untyped_storage()
        is_weight = isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)  # noqa: SLF001
        if is_weight or storage.nbytes() < _LEAST or type(tensor) is not torch.Tensor:
            return tensor
        pages = self._pages_of(storage, tensor._version)  # noqa: SLF001 - changes made in place
        if pages is None:
            return tensor
        return _Ticket(
            pages,
            tensor.dtype,
            tensor.size(),
            tensor.stride(),
            int(tensor.storage_offset()),
            tensor.device,
        )

    @staticmethod
    def _unpack(saved: torch.Tensor | _Ticket) -> torch.Tensor:
        if isinstance(saved, torch.Tensor):
            return saved
        flat = saved.pages.view(saved.dtype)
        begin = int(flat.storage_offset()) + saved.offset
        return flat.as_strided(saved.size, saved.stride, begin).to(saved.device)

    def _pages_of(self, storage: torch.UntypedStorage, version: int) -> torch.Tensor | None:
        """Where a storage lies in the file; several tensors often share one."""
        key = storage._cdata, version  # noqa: SLF001 - the identity of a storage has no public name
        if key not in self._known:
            pages = self._write(storage)
            if pages is None:
                return None
            self._known[key] = pages
            weakref.finalize(storage, self._known.pop, key, None)
        return self._known[key]

    def _write(self, storage: torch.UntypedStorage) -> torch.Tensor | None:
        if self._live == 0:
            self._used = 0
        begin, size = self._used, -(-storage.nbytes() // _PAGE) * _PAGE
        if begin + size > self._limit:
            return None
        pages = self._bytes[begin : begin + storage.nbytes()]
        pages.copy_(torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage))
        self._give_back(begin, size)
        self._used += size
        self._live += 1
        self.most = max(self.most, self._used)
        weakref.finalize(pages, self._release, begin, size)
        return pages

    def _release(self, begin: int, size: int) -> None:
        self._live -= 1
        self._give_back(begin, size)

    def _give_back(self, begin: int, size: int) -> None:
        """Leave the pages to the kernel; what is written in them stays in the file."""
        self._map.madvise(mmap.MADV_DONTNEED, begin, size)
