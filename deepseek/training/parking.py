"""Weights lie in a file that is mapped, instead of in memory.

They are read and written there as anywhere else. What is used no more for now, a block after its
forward and its backward pass, is given back to the kernel, which keeps it in its cache as long as
there is room and on the disk when there is none. The optimizer touches all of them, but then no
activations are held: so the peak is lower by the smaller of both.
"""

import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from deepseek.distributed.anatomy import block_lists
from deepseek.errors import InputError
from deepseek.units import format_bytes

__all__ = ["Parking"]

_PAGE = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class _Span:
    """The pages of one weight, or of a block's."""

    begin: int
    size: int


class Parking:
    """A file that holds weights.

    The file has no name: it is gone when the process is, however it ends.

    Args:
        modules: On the CPU, before they are sharded or given to an optimizer. Their parameters
            stay the objects they are.
        folder: On which disk the file lies.
        limit: How many bytes it takes at most; blocks that do not fit stay in memory.

    Attributes:
        held: Bytes of weights in the file.

    Raises:
        InputError: The disk has no room for it.
    """

    def __init__(self, modules: Sequence[nn.Module], folder: Path, limit: int) -> None:
        units, size = _fitting(modules, limit)
        self.held = 0
        self._spans: list[_Span] = []
        if size == 0:
            return
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                raise InputError(
                    f"expected {format_bytes(size)} of disk at {folder} for --offload: "
                    f"{error.strerror}",
                    hint="lower --swap_fraction, or name an --output on another disk",
                ) from error
            self._map = mmap.mmap(file.fileno(), size)
        begin = 0
        for module, parameters in units:
            span = _Span(begin, _bytes_of(parameters))
            self._move(parameters, begin)
            module.register_forward_hook(partial(self._done_with, span))
            self._spans.append(span)
            begin += span.size
        self.give_back()

    def give_back(self) -> None:
        """Leave all pages to the kernel; what is written in them stays in the file."""
        for span in self._spans:
            self._done_with(span)

    def after_step(self, *_: object) -> None:
        """For the optimizer to call, which touched all of them."""
        self.give_back()

    def _move(self, parameters: Sequence[nn.Parameter], begin: int) -> None:
        for parameter in parameters:
            # A storage for each: one for all would look like one tensor under many names.
            place = torch.frombuffer(
                self._map, dtype=parameter.dtype, count=parameter.numel(), offset=begin
            ).view(parameter.shape)
            place.copy_(parameter.detach())
            parameter.data = place
            own = _Span(begin, _rounded(parameter.nbytes))
            if parameter.requires_grad:
                hook = partial(self._done_with, own)
                parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
            self.held += parameter.nbytes
            begin += own.size

    def _done_with(self, span: _Span, *_: object) -> None:
        self._map.madvise(mmap.MADV_DONTNEED, span.begin, span.size)


_Unit = tuple[nn.Module, list[nn.Parameter]]


def _fitting(modules: Sequence[nn.Module], limit: int) -> tuple[list[_Unit], int]:
    """Blocks, and what is around them, as far as the limit goes; and the bytes they take."""
    seen: set[int] = set()
    units: list[_Unit] = []
    size = 0
    for whole in modules:
        blocks = [block for blocks in block_lists(whole).values() for block in blocks]
        for module in [*blocks, whole]:
            own = [p for p in module.parameters() if id(p) not in seen and p.numel() > 0]
            seen.update(id(p) for p in own)
            takes = _bytes_of(own)
            if takes and size + takes <= limit:
                units.append((module, own))
                size += takes
    return units, size


def _bytes_of(parameters: Sequence[nn.Parameter]) -> int:
    return sum(_rounded(parameter.nbytes) for parameter in parameters)


def _rounded(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
