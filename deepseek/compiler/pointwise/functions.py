"""The functions that steps apply, as they are emitted for whole vectors.

fp32 operators of a program are never contracted: a product is rounded before it is added to, as
torch does it, so that overflow and cancellation are the same. bf16 is computed in fp32 and rounded
after each operator; the rounding instruction of AVX-512 makes subnormal numbers zero.
"""

from __future__ import annotations

import math as numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepseek.kernels.emit import F32, I1, I32, Value, math
from deepseek.kernels.emit.types import is_float

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FUNCTIONS", "Function", "rounded"]


@dataclass(frozen=True, slots=True)
class Function:
    """How a function is emitted.

    Attributes:
        emit: From vectors of one type to a vector.
        cost: Roughly, in additions.
    """

    emit: Callable[..., Value]
    cost: int = 1


def rounded(value: Value) -> Value:
    """fp32 rounded to what bf16 can hold, ties to even; NaN stays NaN."""
    f = value.builder
    if f.target.bf16:
        return f.widen_bf16(f.round_to_bf16(value))
    word = value.bits(I32)
    whole = (word + 0x7FFF + (f.shift_right(word, 16) & 1)) & -0x10000
    return f.select(value.differs(value), value, whole.bits(F32))


def _add(a: Value, b: Value) -> Value:
    if a.element == I1:
        return a | b
    return Value(a.builder, a.builder.ir.fadd(a.ir, b.ir)) if is_float(a.type) else a + b


def _subtract(a: Value, b: Value) -> Value:
    return Value(a.builder, a.builder.ir.fsub(a.ir, b.ir)) if is_float(a.type) else a - b


def _multiply(a: Value, b: Value) -> Value:
    if a.element == I1:
        return a & b
    return a.builder.rounded_product(a, b) if is_float(a.type) else a * b


def _add_product(a: Value, b: Value, factor: Value) -> Value:
    return a.builder.fma(b, factor, a) if is_float(a.type) else a + b * factor


def _absolute(x: Value) -> Value:
    f = x.builder
    return f.absolute(x) if is_float(x.type) else f.select(x < 0, -x, x)


def _negative(x: Value) -> Value:
    return -x


def _maximum(a: Value, b: Value) -> Value:
    """The greater one; NaN where either is."""
    f = a.builder
    if a.element == I1:
        return a | b
    greater = f.maximum(a, b)
    return f.select(a.differs(a), a, greater) if is_float(a.type) else greater


def _minimum(a: Value, b: Value) -> Value:
    """The smaller one; NaN where either is."""
    f = a.builder
    if a.element == I1:
        return a & b
    smaller = f.minimum(a, b)
    return f.select(a.differs(a), a, smaller) if is_float(a.type) else smaller


def _at_least(x: Value, low: Value) -> Value:
    """NaN stays NaN: the bound is a number, and a failed comparison keeps ``x``."""
    return x.builder.maximum(low, x)


def _at_most(x: Value, high: Value) -> Value:
    return x.builder.minimum(high, x)


def _relation(relation: str) -> Callable[[Value, Value], Value]:
    def compare(a: Value, b: Value) -> Value:
        if a.element == I1 and relation not in ("==", "!="):
            a, b = a.to(I32), b.to(I32)
        return a.builder.compare(relation, a, b)

    return compare


def _inverse(x: Value) -> Value:
    return x ^ (1 if x.element == I1 else -1)


def _where(condition: Value, yes: Value, no: Value) -> Value:
    return condition.builder.select(condition, yes, no)


def _reciprocal(x: Value) -> Value:
    return 1.0 / x


def _leaky_relu(x: Value, slope: Value) -> Value:
    return x.builder.select(x > 0.0, x, _multiply(x, slope))


def _elu(x: Value, negative: Value, positive: Value, inner: Value) -> Value:
    """e^y - 1 as 2t / (1 - t) with t = tanh(y / 2), which keeps all digits near zero."""
    t = math.tanh(_multiply(x, inner) * 0.5)
    below = _multiply((t + t) / (1.0 - t), negative)
    return x.builder.select(x <= 0.0, below, _multiply(x, positive))


def _ramp(x: Value) -> Value:
    """``x + 3`` within 0 and 6."""
    f = x.builder
    x = f.minimum(f.like(6.0, x), x + 3.0)
    return f.maximum(f.like(0.0, x), x)


def _hardswish(x: Value) -> Value:
    return _multiply(x, _ramp(x)) / 6.0


def _hardsigmoid(x: Value) -> Value:
    return _ramp(x) / 6.0


def _square_root(x: Value) -> Value:
    return x.builder.sqrt(x)


def _erf(x: Value) -> Value:
    """By the odd series near zero, where the form that has no division loses digits."""
    f = x.builder
    square = x * x
    near = f.like(_ERF_NEAR[-1], x)
    for coefficient in reversed(_ERF_NEAR[:-1]):
        near = f.fma(square, near, coefficient)
    return f.select(f.absolute(x) < 0.5, near * x, math.erf(x))


# The first terms of erf x = 2 / sqrt(pi) * sum (-1)^n x^(2n+1) / (n! (2n+1)): 1e-8 below 0.5.
_ERF_NEAR = tuple(
    2 / numbers.sqrt(numbers.pi) * (-1) ** n / (numbers.factorial(n) * (2 * n + 1))
    for n in range(7)
)

FUNCTIONS: dict[str, Function] = {
    "cast": Function(lambda x: x),
    "add": Function(_add),
    "sub": Function(_subtract),
    "mul": Function(_multiply),
    "div": Function(lambda a, b: a / b, 4),
    "add_product": Function(_add_product),
    "neg": Function(_negative),
    "abs": Function(_absolute),
    "maximum": Function(_maximum),
    "minimum": Function(_minimum),
    "at_least": Function(_at_least),
    "at_most": Function(_at_most),
    "eq": Function(_relation("==")),
    "ne": Function(_relation("!=")),
    "lt": Function(_relation("<")),
    "le": Function(_relation("<=")),
    "gt": Function(_relation(">")),
    "ge": Function(_relation(">=")),
    "and": Function(lambda a, b: a & b),
    "or": Function(lambda a, b: a | b),
    "xor": Function(lambda a, b: a ^ b),
    "not": Function(_inverse),
    "where": Function(_where),
    "sqrt": Function(_square_root, 4),
    "rsqrt": Function(math.rsqrt, 8),
    "reciprocal": Function(_reciprocal, 4),
    "exp": Function(math.exp, 10),
    "log": Function(math.log, 16),
    "tanh": Function(math.tanh, 20),
    "sigmoid": Function(math.sigmoid, 15),
    "erf": Function(_erf, 25),
    "erf_beside_one": Function(math.erf, 18),
    "relu": Function(lambda x: _at_least(x, x.builder.like(0, x))),
    "gelu": Function(math.gelu, 20),
    "gelu_tanh": Function(math.gelu_tanh, 18),
    "silu": Function(math.silu, 15),
    "leaky_relu": Function(_leaky_relu),
    "elu": Function(_elu, 25),
    "hardswish": Function(_hardswish, 6),
    "hardsigmoid": Function(_hardsigmoid, 6),
}
"""Functions by the names that steps use."""
