"""What nodes of a graph make, as far as it is known before anything runs.

Torch's own fake tensors can be computed with, which takes a millisecond for each whose sizes are
symbols. Passes ask for dtypes, sizes and strides alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import SymInt, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sympy

__all__ = ["Look", "Size", "Symbolic", "expression_of", "look_of"]


_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Symbolic:
    """A size that follows from the inputs; equal to others whose expression is the same.

    Attributes:
        expression: Of symbols.
        hint: What it was when the graph was captured, if that is known.
    """

    expression: sympy.Expr
    hint: int | None = field(default=None, compare=False)

    def __mul__(self, other: Size) -> Symbolic:
        if not isinstance(other, Symbolic):
            return Symbolic(self.expression * other, self.hint and self.hint * other)
        hint = self.hint and other.hint and self.hint * other.hint
        return Symbolic(self.expression * other.expression, hint)

    __rmul__ = __mul__

    def __str__(self) -> str:
        return str(self.expression)


Size = int | Symbolic


def expression_of(size: Size) -> Any:
    """A number, or the expression of symbols that a size is."""
    return size.expression if isinstance(size, Symbolic) else size


@dataclass(frozen=True, slots=True)
class Look:
    """A tensor without content.

    Attributes:
        dtype: Of its elements.
        shape: Its sizes.
        strides: Elements from one to the next along each dimension.
        device: Where it is.
        layout: How it is stored.
    """

    dtype: torch.dtype
    shape: tuple[Size, ...]
    strides: tuple[Size, ...]
    device: torch.device = _CPU
    layout: torch.layout = torch.strided

    def dim(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    def numel(self) -> Size:
        """How many elements it has."""
        return prod(self.shape)

    def resized(self, shape: Sequence[Size]) -> Look:
        """A contiguous one of another shape."""
        steps = [size or 1 for size in shape]  # as torch counts where there are no elements
        strides = tuple(prod(steps[place + 1 :]) for place in range(len(shape)))
        return Look(self.dtype, tuple(shape), strides, self.device, self.layout)

    def permuted(self, order: Sequence[int]) -> Look:
        """The same with its dimensions in another order."""
        shape, strides = (tuple(sizes[place] for place in order)
                          for sizes in (self.shape, self.strides))  # fmt: skip
        return Look(self.dtype, shape, strides, self.device, self.layout)

    def example(self) -> Tensor:
        """A tensor of one element that takes part in type promotion as this one would."""
        return torch.empty((1,) * self.dim(), dtype=self.dtype)


def look_of(value: Any) -> Any:
    """The look of a tensor, a symbolic size of torch as one of ours, these in tuples and lists.

    Anything else is returned as it is.
    """
    if isinstance(value, Tensor):
        strided = value.layout == torch.strided
        return Look(
            value.dtype,
            tuple(map(look_of, value.shape)),
            tuple(map(look_of, value.stride())) if strided else (),
            value.device,
            value.layout,
        )
    if isinstance(value, SymInt):
        node = value.node
        if node.expr.is_number:
            return int(node.expr)
        return Symbolic(node.expr, int(node.hint) if node.has_hint() else None)
    if isinstance(value, (tuple, list)):
        return tuple(map(look_of, value))
    return value
