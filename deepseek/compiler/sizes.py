"""What an expression of symbols comes to for given sizes.

Sympy's own substitution builds and simplifies expressions: a millisecond for one that Python
computes in a few microseconds, and each new shape of inputs asks for several.
"""

from __future__ import annotations

import operator
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any

import sympy
from torch.utils._sympy import functions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["compute"]


def _of_all(function: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    return lambda *values: function(list(values))


_FUNCTIONS: dict[type, Callable[..., Any]] = {
    sympy.Add: _of_all(sum),
    sympy.Mul: _of_all(prod),
    sympy.Pow: lambda base, exponent: Fraction(base) ** exponent,
    sympy.Max: max,
    sympy.Min: min,
    sympy.Eq: operator.eq,
    sympy.Ne: operator.ne,
    sympy.Lt: operator.lt,
    sympy.Le: operator.le,
    sympy.Gt: operator.gt,
    sympy.Ge: operator.ge,
    sympy.And: _of_all(all),
    sympy.Or: _of_all(any),
    sympy.Not: operator.not_,
    functions.FloorDiv: operator.floordiv,
    functions.CleanDiv: operator.floordiv,
    functions.Mod: operator.mod,
    functions.PythonMod: operator.mod,
    functions.ModularIndexing: lambda base, divisor, modulus: base // divisor % modulus,
    functions.Max: max,
    functions.Min: min,
}


def compute(expression: Any, values: Mapping[sympy.Symbol, int]) -> Any:
    """The number, or the truth, of a number or an expression.

    Raises:
        KeyError: It has a symbol without a value.
    """
    if isinstance(expression, int):
        return expression
    if isinstance(expression, sympy.Symbol):
        return values[expression]
    if isinstance(expression, sympy.Rational):
        q = int(expression.q)
        return int(expression.p) if q == 1 else Fraction(int(expression.p), q)
    function = _FUNCTIONS.get(type(expression))
    if function is None:
        return expression.subs(values)  # rounding, and truths
    return function(*(compute(part, values) for part in expression.args))
