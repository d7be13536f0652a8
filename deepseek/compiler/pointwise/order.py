"""Sizes and strides in a graph, where they may be symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.compiler.looks import Symbolic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.compiler.looks import Look, Size

__all__ = ["elements", "memory_order"]


def elements(x: Look) -> int | None:
    """How many elements there were when the graph was made; None where that is not known."""
    return _hint(x.numel())


def memory_order(x: Look) -> tuple[int, ...] | None:
    """Dimensions from the one with the greatest stride on; None where elements leave gaps."""
    sizes, strides = ([_hint(n) for n in numbers] for numbers in (x.shape, x.strides))
    if None in sizes or None in strides:
        return None
    own = tuple(range(x.dim()))
    by_stride = tuple(sorted(own, key=lambda d: (-(strides[d] or 0), d)))
    return next((order for order in (own, by_stride) if _is_dense(order, sizes, strides)), None)


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
    return size.hint if isinstance(size, Symbolic) else size
