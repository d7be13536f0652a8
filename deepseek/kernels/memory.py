"""Where kernels get memory for their results."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.kernels.pool import pooled
from deepseek.kernels.scoped import scoped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    Maker = Callable[[Sequence[int], Sequence[int] | None, torch.dtype], Tensor]

__all__ = ["empty", "made_by"]

_makers = threading.local()


def empty(shape: Sequence[int], dtype: torch.dtype, strides: Sequence[int] | None = None) -> Tensor:
    """A tensor in no known state, contiguous unless strides are given.

    This is where all results of kernels come from.
    """
    maker: Maker | None = getattr(_makers, "maker", None)
    if maker is not None:
        return maker(shape, strides, dtype)
    if strides is None:
        return pooled(torch.empty(*shape, dtype=dtype))  # half the time of a tuple's
    return pooled(torch.empty_strided(shape, strides, dtype=dtype))


def made_by(maker: Maker | None) -> AbstractContextManager[None]:
    """Let ``maker`` give this thread's kernels their memory within a with statement.

    Args:
        maker: A function of shape, strides (None if contiguous) and dtype; None for torch.
    """
    return scoped(_makers, "maker", maker)
