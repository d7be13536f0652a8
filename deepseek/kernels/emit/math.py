"""Functions of fp32 vectors. Each states its largest error, which the tests hold it to.

An ulp is the spacing of fp32 numbers at the exact result. NaN gives NaN everywhere. The
polynomials come from ``benchmarks/kernels/fit_polynomials.py``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deepseek.kernels.emit.types import F32, I16, I32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.kernels.emit.value import Operand, Value

__all__ = [
    "erf", "exp", "exp2", "exp2_coarse", "gelu", "gelu_coarse", "gelu_tanh", "gelu_tanh_coarse",
    "log", "relu", "rsqrt", "sigmoid", "silu", "silu_coarse", "tanh",
]  # fmt: skip

_EXP = (0.4999999345169651, 0.1666652068927918, 0.04166838736138891, 0.00836870987567321,
        0.0013814613361767972)  # fmt: skip
_EXP2 = (0.6931472028551873, 0.24022647913566686, 0.0555033247089979, 0.009618437363336492,
         0.0013398874489845072, 0.0001535336064705789)  # fmt: skip
_EXP2_SHORT = (0.6931469775985011, 0.2402224208412085, 0.05550733744330199, 0.009671512697214427,
               0.001326472685928229)  # fmt: skip
_EXP2_COARSE = (0.69328293, 0.24221096, 0.05500893)
_ERF = (-1.6279085930685215, -0.9184163931800393, -0.14848161541125027, 0.028253681769961885,
        -0.0007746303656943863, -0.0014894412632409009, 0.0004455075581817722,
        -4.535859147830847e-05)  # fmt: skip
_LOG = (0.3333333170792158, -0.250008210388635, 0.200012268438781, -0.16623357172458855,
        0.14201758740393056, -0.1316018478299515, 0.12761572511793434,
        -0.07634484435317915)  # fmt: skip
_TANH = (-0.33333281941570886, 0.13331442188454531, -0.0537397143911223, 0.020639085245046047,
         -0.005704984983166888)  # fmt: skip
_GELU_COARSE = (0.3988345770900891, -0.06622207458470665, 0.009740938883194765,
                -0.0010864586314272644, 8.983588067894876e-05, -5.289558502310193e-06,
                2.0724729921795037e-07, -4.795652103308781e-09,
                4.923806771284718e-11)  # fmt: skip
_GELU_TANH_COARSE = (0.3988072312441679, -0.06649324135656888, 0.009932882624977164,
                     -0.0011379973480969215, 9.717913465793842e-05, -5.902351063258749e-06,
                     2.3742528383949932e-07, -5.609934393366007e-09,
                     5.853418256616347e-11)  # fmt: skip
_GATE_REACH = 4.2

_LOG2E = 1 / math.log(2)
_LN2_HIGH = 0.693145751953125  # 16 bits, so that a whole number up to 2^8 times it is exact
_LN2_LOW = math.log(2) - _LN2_HIGH

# Adding this to a number below 2^22 rounds it to a whole number n, and leaves n + 126 in the low
# bits of the sum: shifted into place, the exponent field of 2^(n-1).
_ROUNDER = float(3 << 22) + 126.0


def polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial with these coefficients, lowest power first, by Horner's rule."""
    result: Operand = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        result = x.builder.fma(x, result, coefficient)
    return x.builder.like(result, x)


def exp(x: Value) -> Value:
    """e^x within 1.1 ulp; 0 below -87.0, infinity from 88.7229 on.

    Splits x = n ln 2 + r (Cody and Waite) and scales the polynomial in r by 2^n.
    """
    b = x.builder
    x = _clamp(x, -87.3, 89.0)  # n from -126, the scale that is 0, to 128
    shifted = b.fma(x, _LOG2E, _ROUNDER)
    n = shifted - _ROUNDER
    r = b.fma(n, -_LN2_LOW, b.fma(n, -_LN2_HIGH, x))
    # Twice e^r, because the scale is 2^(n-1): results from 2^127 on would need 2^128 otherwise.
    series = polynomial(r, [2 * c for c in _EXP])
    twice = b.fma(series, r * r, r + r) + 2.0
    return twice * _power(shifted)


def exp2(x: Value, *, short: bool = False) -> Value:
    """2^x within 1.2 ulp (2.2 ulp if ``short``); 0 below -126, infinity from 128 on.

    Without AVX-512, it is 0 below -125.5.
    """
    b = x.builder
    coefficients = _EXP2_SHORT if short else _EXP2
    if b.target.avx512 and x.lanes == b.lanes:
        r = _fraction(x)
        return _scaled(polynomial(r, [1.0, *coefficients]), x - r, b.opposite(x < -126.0))
    x = _clamp(x, -126.0, 128.4)
    shifted = x + _ROUNDER
    r = x - (shifted - _ROUNDER)
    twice = polynomial(r, [2.0, *(2 * c for c in coefficients)])
    return b.like(twice, x) * _power(shifted)


def exp2_coarse(x: Value) -> Value:
    """2^x within a part in 9,800, a twentieth of what rounding to bf16 loses; AVX-512 only."""
    r = _fraction(x)
    return _scaled(polynomial(r, [1.0, *_EXP2_COARSE]), x - r)


def sigmoid(x: Value) -> Value:
    """1 / (1 + e^-x) within 3 ulp."""
    return 1.0 / (exp(-x) + 1.0)


def tanh(x: Value) -> Value:
    """Hyperbolic tangent within 2 ulp: an odd polynomial near zero, 1 - 2 / (e^2|x| + 1) beyond."""
    b = x.builder
    square = x * x
    near = b.fma(polynomial(square, _TANH), square * x, x)
    magnitude = b.absolute(x)
    far = 1.0 - 2.0 / (exp(magnitude + magnitude) + 1.0)
    return b.select(magnitude < 0.625, near, b.copysign(far, x))


def erf(x: Value) -> Value:
    """Error function within 1.5e-7 absolute: 1 - 2^P(|x|), no division; 1 from 4 on."""
    b = x.builder
    magnitude = _clamp(b.absolute(x), None, 4.0)
    tail = exp2(polynomial(magnitude, _ERF) * magnitude)
    return b.copysign(1.0 - tail, x)


def log(x: Value) -> Value:
    """Natural logarithm of normal numbers within 1.5 ulp; -infinity at 0, NaN below.

    Splits x = 2^e m with m in [sqrt(1/2), sqrt(2)); subnormal numbers count as the smallest normal.
    """
    b = x.builder
    infinity = float("inf")
    word = b.maximum(x, 2.0**-126).bits(I32)
    # Moving the fraction by that of sqrt(1/2) makes the exponent step at sqrt(2), not at 2.
    moved = word - 0x3F3504F3
    exponent = (moved >> 23).to(F32)
    f = ((moved & 0x007FFFFF) + 0x3F3504F3).bits(F32) - 1.0
    square = f * f
    tail = b.fma(exponent, _LN2_LOW, polynomial(f, _LOG) * (square * f))
    result = b.fma(exponent, _LN2_HIGH, f + b.fma(square, -0.5, tail))
    result = b.select(x.equals(infinity), x, result)
    result = b.select(x.equals(0.0), b.like(-infinity, x), result)
    return b.select(x >= 0.0, result, b.like(float("nan"), x))


def rsqrt(x: Value) -> Value:
    """1 / sqrt(x) within 1.5 ulp, by the machine's square root and division."""
    return 1.0 / x.builder.sqrt(x)


def relu(x: Value) -> Value:
    """max(x, 0); NaN stays NaN."""
    return x.builder.select(x < 0.0, x.builder.like(0.0, x), x)


def silu(x: Value) -> Value:
    """The product x * sigmoid(x)."""
    return x / (exp(-x) + 1.0)


def gelu(x: Value) -> Value:
    """The exact form of GELU, x * (1 + erf(x / sqrt 2)) / 2."""
    half = x * 0.5
    return x.builder.fma(half, erf(x * math.sqrt(0.5)), half)


def gelu_coarse(x: Value) -> Value:
    """GELU for results that are rounded to 8 bits: half the work, see :func:`_gated`."""
    return _gated(x, _GELU_COARSE)


def gelu_tanh_coarse(x: Value) -> Value:
    """The same of the tanh form."""
    return _gated(x, _GELU_TANH_COARSE)


def silu_coarse(x: Value) -> Value:
    """SiLU within 2e-4 of its value, for results that are rounded to 8 bits."""
    b = x.builder
    if not b.target.avx512:
        return silu(x)
    below = exp2_coarse(x * -_LOG2E) + 1.0
    name = "llvm.x86.avx512.rcp14.ps.512"
    return x * b.call(name, x.type, below, b.like(0.0, x), b.constant(-1, I16))


def _gated(x: Value, coefficients: Sequence[float]) -> Value:
    """``x (1/2 + x q(x^2))`` within 2e-5, and beyond a reach within 8e-5 or 2e-5 of x.

    One polynomial, no exponential and no division. At the lower end of the reach it stays as it is.
    """
    b = x.builder
    low = b.maximum(b.like(-_GATE_REACH, x), x)
    within = b.minimum(b.like(_GATE_REACH, x), low)
    return low * b.fma(within, polynomial(within * within, coefficients), 0.5)


def gelu_tanh(x: Value) -> Value:
    """The tanh form of GELU; written as x * sigmoid(2u), which is x * (1 + tanh u) / 2."""
    c = -2 * math.sqrt(2 / math.pi)
    return x / (exp(x * x.builder.fma(x * x, 0.044715 * c, c)) + 1.0)


def _clamp(x: Value, low: float | None, high: float) -> Value:
    """The value within the bounds; NaN stays NaN: a failed comparison drops the bound."""
    b = x.builder
    x = b.minimum(b.like(high, x), x)
    return x if low is None else b.maximum(b.like(low, x), x)


def _power(shifted: Value) -> Value:
    """2^(n-1) from a sum with the rounder; 0 where n is -126 or less."""
    return (shifted.bits(I32) << 23).bits(F32)


def _fraction(x: Value) -> Value:
    """What x is above or below the nearest whole number, by AVX-512; 0 of an infinity."""
    b = x.builder
    nearest, all_lanes, rounding = b.constant(8, I32), b.constant(-1, I16), b.constant(4, I32)
    name = "llvm.x86.avx512.mask.reduce.ps.512"
    return b.call(name, x.type, x, nearest, b.like(0.0, x), all_lanes, rounding)


def _scaled(x: Value, exponent: Value, where: Value | None = None) -> Value:
    """The product x * 2^exponent by AVX-512, 0 in the other lanes."""
    b = x.builder
    name = "llvm.x86.avx512.mask.scalef.ps.512"
    lanes = b.constant(-1, I16) if where is None else where.bits(I16)
    rounding = b.constant(4, I32)
    return b.call(name, x.type, x, exponent, b.like(0.0, x), lanes, rounding)
