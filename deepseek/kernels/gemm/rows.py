"""Activations as integers, row by row, in the form that a product reads them.

One pass over a row finds its extremes, a second one divides by the scale, rounds and packs. Four
kinds, all with a half rounded to the even neighbour and a scale of zero replaced by the smallest
step of the dtype at 1:

- ``symmetric``: ``q = clamp(x / scale, -128, 127)``, ``scale = max|x| / 127.5``.
- ``asymmetric``: ``q = clamp(x / scale + zero, -128, 127)``; ``scale`` is a 255th of the way from
  ``min(x, 0)`` to ``max(x, 0)``, ``zero = -128 - min(x, 0) / scale``. Uses all steps on rows that
  lie to one side of zero, as after an activation function.
- ``blocks``: 16 bits with a scale for each group of values, ``max|x| / 32767``; for weights that
  alone are quantized.
- ``weight``: ``q = clamp(x / scale, -127, 127)``, ``scale = max|x| / 127``; for rows of a weight.

All but ``blocks`` are those of :mod:`deepseek.nn.int8_arithmetic`, bit for bit: of bf16 activations
the result of every step is rounded to bf16. The scale of a row (in ``blocks`` of a group) with a
NaN or an infinity is NaN, as is one beyond the greatest number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import BF16, ELEMENTS, F32, I8, I32, Arguments, Module
from deepseek.kernels.gemm.spec import FORMATS, HEADER, ROUNDINGS, SIZES, Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deepseek.kernels.emit import Array, Function, Value, Variable
    from deepseek.kernels.gemm.spec import Rounding
    from deepseek.kernels.target import Target

    Strips = Callable[[Sequence[Variable]], Iterator[tuple[Value, Value | None]]]

__all__ = ["ARGUMENTS", "build_rows"]

ARGUMENTS = Arguments(
    x="pointer", rows="pointer",
    x_stride="int",  # elements of x from a row to the next
    pitch="int",  # bytes from a packed row to the next
    columns="int",  # K
)  # fmt: skip

_MODERATE = 2.0**60  # scales between this and its reciprocal leave no room for over- or underflow
_INFINITY, _NAN = float("inf"), float("nan")


def build_rows(target: Target, format_name: str, rounding_name: str, x_type: str) -> Module:
    """The module of the kernel that quantizes rows; a unit of work is a row."""
    scheme, rounding = FORMATS[format_name], ROUNDINGS[rounding_name]
    module = Module(f"deepseek_quantize_{format_name}_{rounding_name}_{x_type}", target)
    with module.task(ARGUMENTS) as f:
        a = f.arguments
        for row in f.range(f.begin, f.end):
            x = f.array(a.x, ELEMENTS[x_type]).at(row * a.x_stride)
            packed = f.array(a.rows, I8).at(row * a.pitch)
            if rounding.grouped:
                _quantize_groups(f, scheme, rounding, x, packed, a.columns)
            else:
                _quantize(f, scheme, rounding, x, packed, lambda carry: f.strips(a.columns, carry))
    return module


def _quantize_groups(
    f: Function, scheme: Format, rounding: Rounding, x: Array, packed: Array, columns: Value
) -> None:
    """Quantize whole groups, and then what is left as a group with zeros after it."""
    size, pitch = scheme.group, scheme.span * SIZES[scheme.x]
    whole = columns // size
    for group in f.range(0, whole):
        _quantize(
            f, scheme, rounding, x.at(group * size), packed.at(group * pitch),
            lambda carry: ((place, None) for place in f.range(0, size, f.lanes, carry)),
        )  # fmt: skip
    rest = columns - whole * size
    with f.when(rest > 0):
        _quantize(
            f, scheme, rounding, x.at(whole * size), packed.at(whole * pitch),
            lambda carry: ((place, f.mask_below(rest - place))
                           for place in f.range(0, size, f.lanes, carry)),
        )  # fmt: skip


def _quantize(
    f: Function, scheme: Format, rounding: Rounding, x: Array, packed: Array, strips: Strips
) -> None:
    """Quantize the values that the strips cover: write the header, then the integers."""
    as_bf16 = x.element == BF16 and rounding.in_dtype
    low, high = _extremes(f, rounding, x, strips)
    scale = _scale(f, rounding, low, high, as_bf16=as_bf16)
    zero = _zero(f, rounding, low, scale, as_bf16=as_bf16)
    offset = rounding.offset(scheme.x)
    point = zero.to(F32).splat()
    integers = f.array(packed.at(HEADER).pointer, ELEMENTS[scheme.x])
    total = f.variable(f.zeros(I32))

    def write(quotient_of: Callable[[Value], Value]) -> None:
        for place, mask in strips([total] if rounding.summed else []):
            quotient = _as_bf16(quotient_of(x.load(place, mask)), really=as_bf16)
            if rounding.one_sided:
                quotient = _as_bf16(quotient + point, really=as_bf16)
            steps = f.nearest(_between(f, rounding, quotient))
            integers.store(steps + offset, place)
            if rounding.summed:
                total.set(total + steps)

    divisor, reciprocal = scale.splat(), (1.0 / scale).splat()
    moderate = f.select(scale < _MODERATE, scale, 0.0) > 1 / _MODERATE
    with f.when(moderate, carry=[total]):
        write(lambda value: f.quotient(value, divisor, reciprocal))
    with f.when(f.opposite(moderate), carry=[total]):
        write(lambda value: value / divisor)

    header = f.array(packed.pointer, F32)
    header.store(scale)
    second = f.reduce("add", total).to(F32) if rounding.summed else (zero + offset).bits(F32)
    header.store(second, 1)


def _extremes(f: Function, rounding: Rounding, x: Array, strips: Strips) -> tuple[Value, Value]:
    """The least and greatest value, zero among them, or plus and minus the greatest magnitude.

    The bits of fp32 numbers are compared as integers, which puts NaN beyond the infinities.
    """
    low, high = f.variable(f.zeros(I32)), f.variable(f.zeros(I32))
    if rounding.one_sided:
        for place, mask in strips([low, high]):
            bits = _in_order(x.load(place, mask).bits(I32))
            low.set(f.minimum(low, bits))
            high.set(f.maximum(high, bits))
        lowest, highest = f.reduce("min", low), f.reduce("max", high)
        return _in_order(lowest).bits(F32), _in_order(highest).bits(F32)
    for place, mask in strips([high]):
        high.set(f.maximum(high, x.load(place, mask).bits(I32) & 0x7FFFFFFF))
    top = f.reduce("max", high).bits(F32)
    return -top, top


def _in_order(bits: Value) -> Value:
    """Integers in the order of the numbers that they are the bits of; its own inverse."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _scale(f: Function, rounding: Rounding, low: Value, high: Value, *, as_bf16: bool) -> Value:
    steps = rounding.highest - rounding.lowest
    if rounding.one_sided:
        scale = _as_bf16(high - low, really=as_bf16) / float(steps)
    else:
        scale = high / (steps / 2)
    scale = _as_bf16(scale, really=as_bf16)
    smallest = 2.0**-7 if as_bf16 else 2.0**-23
    scale = f.select(scale.equals(0.0), f.like(smallest, scale), scale)
    return f.select(scale < _INFINITY, scale, _NAN)


def _zero(f: Function, rounding: Rounding, low: Value, scale: Value, *, as_bf16: bool) -> Value:
    """The integer that stands for zero."""
    if not rounding.one_sided:
        return f.constant(0, I32)
    below = _as_bf16(low / scale, really=as_bf16)
    point = _as_bf16(float(rounding.lowest) - below, really=as_bf16)
    return f.nearest(_between(f, rounding, point))


def _between(f: Function, rounding: Rounding, value: Value) -> Value:
    return f.maximum(f.minimum(value, float(rounding.highest)), float(rounding.lowest))


def _as_bf16(value: Value, *, really: bool) -> Value:
    b = value.builder
    return b.widen_bf16(b.round_to_bf16(value)) if really else value
