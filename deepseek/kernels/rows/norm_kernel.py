"""The kernel of layer norm and RMS norm, a row at a time.

A row is read once from memory; the passes after the first find it in the cache, and form the sum
with the residual anew rather than store it: two reads cost less than a write and a read. The last
pass asks for the next row, because memory would have nothing to do during all passes but the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import ELEMENTS, F32, Arguments, Module, math
from deepseek.kernels.rows.sweep import WAYS, sum_of, sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepseek.kernels.emit import Array, Function, Value
    from deepseek.kernels.rows.spec import NormForm
    from deepseek.kernels.target import Target

    Source = Callable[[Value, Value | None], Value]

__all__ = ["ARGUMENTS", "build_norm", "centered", "scaled"]

ARGUMENTS = Arguments(
    x="pointer", residual="pointer", weight="pointer", bias="pointer",
    out="pointer", total="pointer",
    eps="float", width="int", x_stride="int", residual_stride="int",
)  # fmt: skip

_ACTIVATIONS: dict[str, Callable[[Value], Value]] = {
    "relu": math.relu,
    "gelu": math.gelu,
    "gelu_tanh": math.gelu_tanh,
    "silu": math.silu,
}


def build_norm(target: Target, form: NormForm) -> Module:
    """A module whose task ``deepseek_norm`` normalizes rows."""
    module = Module("deepseek_norm", target)
    with module.task(ARGUMENTS) as f:
        a = f.arguments
        weight, bias = _given(f, a.weight, form.weight), _given(f, a.bias, form.bias)
        total = _given(f, a.total, form.total)
        for row in f.range(f.begin, f.end):
            x = f.array(a.x, ELEMENTS[form.x]).at(row * a.x_stride)
            residual = _given(f, a.residual, form.residual)
            if residual is not None:
                residual = residual.at(row * a.residual_stride)
            out = f.array(a.out, ELEMENTS[form.out]).at(row * a.width)
            kept = None if total is None else total.at(row * a.width)

            def source(
                column: Value,
                mask: Value | None,
                x: Array = x,
                residual: Array | None = residual,
            ) -> Value:
                value = x.load(column, mask)
                return value if residual is None else value + residual.load(column, mask)

            normalize = (centered if form.centered else scaled)(f, source, a.width, a.eps)
            for column, mask in f.strips(a.width):
                if mask is None:
                    f.prefetch_line(x.at(column + a.x_stride).pointer)
                    if residual is not None:
                        f.prefetch_line(residual.at(column + a.residual_stride).pointer)
                value = source(column, mask)
                if kept is not None:
                    kept.store(value, column, mask)
                y = normalize(value)
                if weight is not None:
                    y = y * weight.load(column, mask)
                if bias is not None:
                    y = y + bias.load(column, mask)
                if form.activation is not None:
                    y = _ACTIVATIONS[form.activation](y)
                out.store(y, column, mask, streamed=form.streamed)
        if form.streamed:
            f.fence_streams()
    return module


def centered(f: Function, source: Source, width: Value, eps: Value) -> Callable[[Value], Value]:
    """Emit the statistics of a row, and return what makes its mean 0 and its variance 1.

    The mean of fp32 numbers far from zero is itself rounded. The second pass therefore sums the
    deviations from it as well as their squares, and corrects both mean and variance by them (Chan,
    Golub, LeVeque, "Algorithms for computing the sample variance", 1983).
    """
    count = width.to(F32)
    sums = [f.variable(f.zeros()) for _ in range(WAYS)]
    for column, mask, way in sweep(f, width, sums):
        sums[way] += source(column, mask)
    mean = (sum_of(f, sums) / count).splat()

    shifts = [f.variable(f.zeros()) for _ in range(WAYS)]
    squares = [f.variable(f.zeros()) for _ in range(WAYS)]
    for column, mask, way in sweep(f, width, [*shifts, *squares]):
        deviation = source(column, mask) - mean
        if mask is not None:
            deviation = f.select(mask, deviation, 0.0)
        shifts[way] += deviation
        squares[way].set(f.fma(deviation, deviation, squares[way]))
    shift = sum_of(f, shifts) / count
    variance = sum_of(f, squares) / count - shift * shift
    variance = f.maximum(f.like(0.0, variance), variance)  # NaN stays NaN
    scale = math.rsqrt(variance + eps)
    factor, addend = scale.splat(), (-(shift * scale)).splat()
    return lambda value: f.fma(value - mean, factor, addend)


def scaled(f: Function, source: Source, width: Value, eps: Value) -> Callable[[Value], Value]:
    """Emit the mean square of a row, and return what makes it 1."""
    squares = [f.variable(f.zeros()) for _ in range(WAYS)]
    for column, mask, way in sweep(f, width, squares):
        value = source(column, mask)
        squares[way].set(f.fma(value, value, squares[way]))
    factor = math.rsqrt(sum_of(f, squares) / width.to(F32) + eps).splat()
    return lambda value: value * factor


def _given(f: Function, pointer: Value, dtype: str | None) -> Array | None:
    return None if dtype is None else f.array(pointer, ELEMENTS[dtype])
