"""Memory for the results of kernels.

The C library gives a block of 32 MiB and more back to the system as soon as it is freed, so that
the next one consists of pages that were never touched: 12,000 interruptions for 50 MB, which took
a sixth of the time of a product on a Xeon. In pages of 2 MiB there are 24 of them.
"""

from __future__ import annotations

import mmap
import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.kernels.pages import ask_for_large_pages
from deepseek.kernels.scoped import scoped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    Maker = Callable[[Sequence[int], Sequence[int] | None, torch.dtype], Tensor]

__all__ = ["empty", "made_by", "on_large_pages"]

_LARGE = 32 << 20

_makers = threading.local()


def empty(shape: Sequence[int], dtype: torch.dtype, strides: Sequence[int] | None = None) -> Tensor:
    """A tensor in no known state, contiguous unless strides are given.

    On large pages if it is large and there are any. This is where all results of kernels come from.
    """
    maker: Maker | None = getattr(_makers, "maker", None)
    if maker is not None:
        return maker(shape, strides, dtype)
    if strides is None:
        return on_large_pages(torch.empty(*shape, dtype=dtype))  # half the time of a tuple's
    return on_large_pages(torch.empty_strided(shape, strides, dtype=dtype))


def made_by(maker: Maker | None) -> AbstractContextManager[None]:
    """Let ``maker`` give this thread's kernels their memory within a with statement.

    Args:
        maker: A function of shape, strides (None if contiguous) and dtype; None for torch.
    """
    return scoped(_makers, "maker", maker)


def on_large_pages(tensor: Tensor) -> Tensor:
    """A tensor that has just been made, its memory in large pages if it is large."""
    if tensor.nbytes >= _LARGE:
        first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        ask_for_large_pages(first, tensor.data_ptr() + tensor.nbytes - first)
    return tensor
