"""What the nodes of a graph make, tensors without content whose sizes may be symbols, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from deepseek.compiler.looks import Look, Symbolic, expression_of, look_of
from deepseek.compiler.saved.symbols import read_expression, write_expression
from deepseek.compiler.sizes import compute
from deepseek.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sympy

    from deepseek.compiler.looks import Size

__all__ = ["Reader", "write_value"]


def write_value(value: Any) -> Any:
    """A node's value as JSON.

    Raises:
        InputError: It is of a kind that has no written form.
    """
    value = look_of(value)
    if isinstance(value, Look):
        if value.layout is not torch.strided or value.device.type != "cpu":
            raise InputError("expected dense tensors on the CPU")
        return {
            "dtype": str(value.dtype).removeprefix("torch."),
            "sizes": [_write_size(size) for size in value.shape],
            "strides": [_write_size(stride) for stride in value.strides],
        }
    if isinstance(value, Symbolic):
        return {"size": _write_size(value)}
    if isinstance(value, tuple):
        return [write_value(each) for each in value]
    if value is None or isinstance(value, (bool, int, float)):
        return {"constant": value}
    raise InputError(f"expected tensors and sizes, got a {type(value).__name__}")


def _write_size(size: Size) -> Any:
    return write_expression(expression_of(size))


class Reader:
    """Makes values again.

    Args:
        symbols: The symbols of the graph, and a size of an input for each.
    """

    def __init__(self, symbols: Mapping[sympy.Symbol, int]) -> None:
        self._symbols = symbols
        self._made: dict[str, Any] = {}

    def value(self, written: Any) -> Any:
        """The value that was written; equal ones are one object."""
        key = repr(written)
        if key not in self._made:
            self._made[key] = self._make(written)
        return self._made[key]

    def _make(self, written: Any) -> Any:
        if isinstance(written, list):
            return tuple(self.value(each) for each in written)
        if "constant" in written:
            return written["constant"]
        if "size" in written:
            return self._size(written["size"])
        sizes, strides = (
            tuple(self._size(each) for each in written[key]) for key in ("sizes", "strides")
        )
        return Look(getattr(torch, written["dtype"]), sizes, strides)

    def _size(self, written: Any) -> Size:
        if isinstance(written, int):
            return written
        expression = read_expression(written)
        return Symbolic(expression, int(compute(expression, self._symbols)))
