"""What the nodes of a graph make, tensors without content whose sizes may be symbols, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import SymInt, Tensor
from torch._guards import Source
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

from deepseek.compiler.saved.symbols import read_expression, write_expression
from deepseek.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sympy

__all__ = ["Reader", "write_value"]


def write_value(value: Any) -> Any:
    """A node's value as JSON.

    Raises:
        InputError: It is of a kind that has no written form.
    """
    if isinstance(value, Tensor):
        if value.layout is not torch.strided or value.device.type != "cpu":
            raise InputError("expected dense tensors on the CPU")
        return {
            "dtype": str(value.dtype).removeprefix("torch."),
            "sizes": [_write_size(size) for size in value.shape],
            "strides": [_write_size(stride) for stride in value.stride()],
        }
    if isinstance(value, SymInt):
        return {"size": _write_size(value)}
    if isinstance(value, (tuple, list)):
        return [write_value(each) for each in value]
    if value is None or isinstance(value, (bool, int, float)):
        return {"constant": value}
    raise InputError(f"expected tensors and sizes, got a {type(value).__name__}")


def _write_size(size: Any) -> Any:
    return write_expression(size.node.expr if isinstance(size, SymInt) else size)


class Reader:
    """Makes values again, in a world of symbols of their own.

    Args:
        symbols: The symbols of the graph, and a size of an input for each.
    """

    def __init__(self, symbols: Mapping[sympy.Symbol, int]) -> None:
        self._world = _World(duck_shape=False)
        self._mode = FakeTensorMode(shape_env=self._world)
        self._made: dict[str, Any] = {}
        self._symbols = {
            symbol: self._world.create_symbol(
                size, source=_Named(str(symbol)), dynamic_dim=DimDynamic.DYNAMIC
            )
            for symbol, size in symbols.items()
        }

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
            [self._size(each) for each in written[key]] for key in ("sizes", "strides")
        )
        with self._mode:
            return torch.empty_strided(sizes, strides, dtype=getattr(torch, written["dtype"]))

    def _size(self, written: Any) -> Any:
        if isinstance(written, int):
            return written
        expression = read_expression(written).xreplace(self._symbols)
        return self._world.create_symintnode(expression, hint=None)


class _World(ShapeEnv):
    """Symbols of which nobody asks where in a program they came to be.

    To look for that, torch imports its inductor and more, which takes a third of a second.
    """

    def _get_user_frame(self) -> None:
        return None


@dataclass(frozen=True)
class _Named(Source):
    """Where a symbol comes from, as far as torch wants to know."""

    symbol: str

    @property
    def _name_template(self) -> str:
        return self.symbol
