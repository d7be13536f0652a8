"""What a captured graph takes for granted of its inputs' shapes, and whether an input keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sympy
from torch import SymInt

from deepseek.compiler.looks import expression_of, look_of
from deepseek.compiler.sizes import compute

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Guards"]

_Size = Any  # a number, or an expression of symbols
_Lie = tuple[Sequence[int], Sequence[int]]  # sizes and strides of a tensor


@dataclass(frozen=True, slots=True)
class Guards:
    """Conditions on the inputs of a graph.

    Attributes:
        dtypes: Of each tensor.
        shapes: Of each tensor: numbers, and expressions of symbols.
        strides: Likewise. They may differ, and only say what their own symbols are.
        ranges: Least and greatest value of each symbol.
        conditions: Relations of symbols that were decided while the model ran.
    """

    dtypes: tuple[torch.dtype, ...]
    shapes: tuple[tuple[_Size, ...], ...]
    strides: tuple[tuple[_Size, ...], ...]
    ranges: dict[sympy.Symbol, tuple[float, float]]
    conditions: tuple[sympy.Basic, ...]
    _known: dict[tuple[_Lie, ...], bool] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, tensors: Sequence[Tensor], ranges: dict[sympy.Symbol, Any]) -> Guards:
        """The guards of fake tensors whose sizes are symbols of one environment."""
        sizes: list[Any] = [size for tensor in tensors for size in tensor.shape]
        symbolic = [size for size in sizes if isinstance(size, SymInt)]
        conditions: list[sympy.Basic] = []
        if symbolic:
            environment: Any = symbolic[0].node.shape_env
            decided = (environment.replace(guard.expr) for guard in environment.guards)
            conditions = [condition for condition in decided if condition.free_symbols]
        looks = [look_of(tensor) for tensor in tensors]
        return cls(
            tuple(look.dtype for look in looks),
            tuple(tuple(map(expression_of, look.shape)) for look in looks),
            tuple(tuple(map(expression_of, look.strides)) for look in looks),
            {symbol: (_number(r.lower), _number(r.upper)) for symbol, r in ranges.items()},
            tuple(dict.fromkeys(conditions)),
        )

    def hold(self, tensors: Sequence[Tensor]) -> bool:
        """Whether tensors are such as the graph was made for."""
        if tuple(tensor.dtype for tensor in tensors) != self.dtypes:
            return False
        key = tuple((tensor.shape, tensor.stride()) for tensor in tensors)
        if key not in self._known:
            if len(self._known) > 4096:
                self._known.clear()
            self._known[key] = self._decide(key)
        return self._known[key]

    def _decide(self, tensors: Sequence[_Lie]) -> bool:
        values = self._symbols(tensors)
        if values is None:
            return False
        for symbol, (least, most) in self.ranges.items():
            if symbol in values and not least <= values[symbol] <= most:
                return False
        try:
            return all(bool(compute(condition, values)) for condition in self.conditions)
        except KeyError:  # of a symbol that is nowhere alone
            return False

    def symbols(self, tensors: Sequence[Tensor]) -> dict[sympy.Symbol, int] | None:
        """The values of the symbols for tensors; None if no values give their shapes."""
        return self._symbols([(tensor.shape, tensor.stride()) for tensor in tensors])

    def _symbols(self, tensors: Sequence[_Lie]) -> dict[sympy.Symbol, int] | None:
        if [len(shape) for shape, _ in tensors] != [len(shape) for shape in self.shapes]:
            return None
        pairs: list[tuple[_Size, int]] = []
        values: dict[sympy.Symbol, int] = {}
        for strides, (_, steps) in zip(self.strides, tensors, strict=True):
            values |= _alone(strides, steps)
        for shape, (sizes, _) in zip(self.shapes, tensors, strict=True):
            values |= _alone(shape, sizes)
            pairs += zip(shape, sizes, strict=True)
        try:
            fits = all(compute(want, values) == have for want, have in pairs)
        except KeyError:  # a symbol that is nowhere alone
            return None
        return values if fits else None


def _alone(expected: Sequence[_Size], given: Sequence[int]) -> dict[sympy.Symbol, int]:
    """The values of symbols that stand alone."""
    pairs = zip(expected, given, strict=True)
    return {want: have for want, have in pairs if isinstance(want, sympy.Symbol)}


def _number(bound: Any) -> float:
    """A bound of a range; torch writes what has none as an infinity of its own."""
    return float(bound) if bound.is_finite else float("inf")
