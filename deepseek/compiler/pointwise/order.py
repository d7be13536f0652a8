"""Sizes and strides in a graph, where they may be symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["elements", "memory_order", "same_shape"]

Size = int | torch.SymInt


def elements(x: Tensor) -> int | None:
    """How many elements there were when the graph was made; None where that is not known."""
    total = 1
    for size in x.shape:
        known = _hint(size)
        if known is None:
            return None
        total *= known
    return total


def memory_order(x: Tensor) -> tuple[int, ...] | None:
    """Dimensions from the one with the greatest stride on; None where elements leave gaps."""
    sizes, strides = ([_hint(n) for n in numbers] for numbers in (x.shape, x.stride()))
    if None in sizes or None in strides:
        return None
    own = tuple(range(x.dim()))
    by_stride = tuple(sorted(own, key=lambda d: (-(strides[d] or 0), d)))
    return next((order for order in (own, by_stride) if _is_dense(order, sizes, strides)), None)


def same_shape(a: Tensor, b: Tensor) -> bool:
    """Whether two shapes are known to be equal; asking makes no guard on symbols."""
    return a.dim() == b.dim() and all(_same(x, y) for x, y in zip(a.shape, b.shape, strict=True))


def _is_dense(
    order: Sequence[int], sizes: Sequence[int | None], strides: Sequence[int | None]
) -> bool:
    expected = 1
    for dimension in reversed(order):
        size = sizes[dimension]
        assert size is not None
        if size != 1 and strides[dimension] != expected:
            return False
        expected *= size
    return True


def _hint(size: Size) -> int | None:
    if isinstance(size, int):
        return size
    if not size.node.has_hint():
        return None
    return int(size.node.hint)


def _same(x: Size, y: Size) -> bool:
    if isinstance(x, int) or isinstance(y, int):
        return isinstance(x, int) and isinstance(y, int) and x == y
    return bool(x.node.expr == y.node.expr)
