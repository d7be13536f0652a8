"""Guards as plain JSON values and back: conditions are nested lists, never text to evaluate."""

from __future__ import annotations

from typing import Any

import sympy
import torch
from sympy.logic.boolalg import Boolean
from torch.utils._sympy import functions

from deepseek.compiler.guards import Guards
from deepseek.errors import InputError

__all__ = ["read_expression", "read_guards", "write_expression", "write_guards"]

_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        sympy.Add, sympy.Mul, sympy.Pow, sympy.Max, sympy.Min, sympy.Eq, sympy.Ne, sympy.Lt,
        sympy.Le, sympy.Gt, sympy.Ge, sympy.And, sympy.Or, sympy.Not, functions.FloorDiv,
        functions.Mod, functions.PythonMod, functions.Max, functions.Min, functions.CleanDiv,
        functions.ModularIndexing, functions.CeilToInt, functions.FloorToInt, sympy.Rational,
    )
}  # fmt: skip
_MOST = float(2**63)


def write_guards(guards: Guards) -> dict[str, Any]:
    """The guards as JSON values.

    Raises:
        InputError: A condition has a form that is not listed here.
    """
    return {
        "dtypes": [str(dtype).removeprefix("torch.") for dtype in guards.dtypes],
        "shapes": [[write_expression(size) for size in shape] for shape in guards.shapes],
        "strides": [[write_expression(step) for step in steps] for steps in guards.strides],
        "ranges": {
            str(symbol): [least, None if most >= _MOST else most]
            for symbol, (least, most) in guards.ranges.items()
        },
        "conditions": [write_expression(condition) for condition in guards.conditions],
    }


def read_guards(written: dict[str, Any]) -> Guards:
    """The guards that were written.

    Raises:
        InputError: They were not written by :func:`write_guards`.
    """
    return Guards(
        dtypes=tuple(getattr(torch, name) for name in written["dtypes"]),
        shapes=tuple(tuple(map(read_expression, shape)) for shape in written["shapes"]),
        strides=tuple(tuple(map(read_expression, steps)) for steps in written["strides"]),
        ranges={
            _symbol(name): (least, float("inf") if most is None else most)
            for name, (least, most) in written["ranges"].items()
        },
        conditions=tuple(map(read_expression, written["conditions"])),
    )


def write_expression(expression: Any) -> Any:
    """A number, or an expression of symbols, as JSON values."""
    if isinstance(expression, int) or getattr(expression, "is_Integer", False):
        return int(expression)
    if isinstance(expression, sympy.Symbol):
        return str(expression)
    name = type(expression).__name__
    if isinstance(expression, sympy.Rational):
        return ["Rational", int(expression.p), int(expression.q)]
    if _KINDS.get(name) is None:
        raise InputError(f"expected a graph whose conditions can be written, got {expression}")
    return [name, *map(write_expression, expression.args)]


def read_expression(written: Any) -> Any:
    """The expression that was written."""
    if isinstance(written, int):
        return written
    if isinstance(written, str):
        return _symbol(written)
    kind, *arguments = written
    if kind not in _KINDS:
        raise InputError(f"expected a compiled model of this version, found {kind!r} in it")
    parts = map(read_expression, arguments)
    if issubclass(_KINDS[kind], Boolean):  # to decide one, sympy imports its tensors for 0.1 s
        return _KINDS[kind](*parts, evaluate=False)
    return _KINDS[kind](*parts)


def _symbol(name: str) -> Any:
    return sympy.Symbol(name, integer=True, positive=True)
