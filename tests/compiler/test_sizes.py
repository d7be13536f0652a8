"""Expressions of sizes come to what sympy says."""

import pytest
import sympy
from torch.utils._sympy import functions

from deepseek.compiler.sizes import compute

A, B = sympy.symbols("a b", integer=True, positive=True)
EXPRESSIONS = [
    A, A + 2 * B - 7, A * B, A**2, A / 2 + B / 3, A**-1 * B, sympy.Max(A, B, 5), sympy.Min(A, 3),
    sympy.Eq(A, 2 * B), sympy.Ne(A, B), A < B + 1, A <= B, A > 3, B >= 4,
    sympy.And(A > 2, B > 2), sympy.Or(A > 20, B > 2), sympy.Not(sympy.Eq(A, B)),
    functions.FloorDiv(A + B, 3), functions.Mod(A, 4), functions.PythonMod(A - 50, 7),
    functions.ModularIndexing(A * B, 2, 5), functions.CeilToInt(A / 2), functions.FloorToInt(A / 3),
    functions.Max(A, B), functions.Min(A, B), sympy.true, sympy.Integer(4), sympy.Rational(1, 3),
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_as_sympy_does(expression: sympy.Basic) -> None:
    for a in (1, 2, 5, 12, 60):
        for b in (1, 3, 6, 24):
            values = {A: a, B: b}
            expected = expression.subs(values)
            found = compute(expression, values)
            assert bool(found == expected)


def test_a_clean_division_is_one() -> None:
    assert compute(functions.CleanDiv(A, 4), {A: 12}) == 3


def test_a_number_is_itself() -> None:
    assert compute(7, {}) == 7


def test_a_symbol_without_a_value_is_told() -> None:
    with pytest.raises(KeyError):
        compute(A + B, {A: 1})
