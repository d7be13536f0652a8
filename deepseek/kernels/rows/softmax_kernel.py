"""The kernel of softmax and log-softmax, a row at a time.

The last pass over a row asks for the next one: memory would have nothing to do otherwise.
"""

from __future__ import annotations

import math as numbers
from typing import TYPE_CHECKING

from deepseek.kernels.emit import ELEMENTS, Arguments, Module, math
from deepseek.kernels.rows.spec import SCRATCH
from deepseek.kernels.rows.sweep import WAYS, sweep, walk

if TYPE_CHECKING:
    from types import SimpleNamespace

    from deepseek.kernels.emit import Array, Function, Task, Value
    from deepseek.kernels.rows.spec import SoftmaxForm
    from deepseek.kernels.rows.sweep import Place
    from deepseek.kernels.target import Target

__all__ = ["ARGUMENTS", "build_softmax"]

ARGUMENTS = Arguments(
    x="pointer", mask="pointer", bias="pointer", out="pointer", scale="float",
    width="int", middle="int", inner="int",
    x_outer="int", x_middle="int", x_inner="int",
    mask_outer="int", mask_middle="int", mask_inner="int",
    bias_outer="int", bias_middle="int", bias_inner="int",
)  # fmt: skip

_INFINITY = float("inf")
_LOG2E = 1 / numbers.log(2)


def build_softmax(target: Target, form: SoftmaxForm) -> Module:
    """A module whose task ``deepseek_softmax`` makes rows sum to one.

    The maximum is subtracted before the product with log2(e), not after in one fused operation:
    of rows of the lowest fp32 number, which are masked in whole, the products would be infinite.
    """
    module = Module("deepseek_softmax", target)
    with module.task(ARGUMENTS) as f:
        a = f.arguments
        scratch = f.scratch(SCRATCH) if form.held == "scratch" else None
        for place in walk(f, a.middle, a.inner):
            scores = _Scores(f, form, place)
            out = f.array(a.out, ELEMENTS[form.out]).at(place.row * a.width)
            held = out if form.held == "out" else scratch
            top = _highest(f, scores, a.width).splat()
            powers = _Powers(scores, top)

            total = f.variable(f.zeros())
            for column, mask in f.strips(a.width, carry=[total]):
                e = powers.load(column, mask)
                if held is not None:
                    held.store(e, column, mask)
                total += e
            whole = f.reduce("add", total)

            scale = (1.0 / whole).splat()
            logarithm = math.log(whole.splat()) if form.logarithm else None
            for column, mask in f.strips(a.width):
                if mask is None:
                    f.prefetch_line(scores.x.at(column + a.x_inner).pointer)
                if logarithm is not None:
                    y = scores.load(column, mask) - top - logarithm
                else:
                    y = (held or powers).load(column, mask) * scale
                out.store(y, column, mask, streamed=form.streamed)
        if form.streamed:
            f.fence_streams()
    return module


class _Powers:
    """The exponentials of a row of scores, computed as they are read."""

    def __init__(self, scores: _Scores, top: Value) -> None:
        self.scores, self.top = scores, top

    def load(self, column: Value, mask: Value | None) -> Value:
        return math.exp2((self.scores.load(column, mask) - self.top) * _LOG2E, short=True)


class _Scores:
    """The row that the softmax is of: ``x * scale + bias + mask``, -infinity beyond its end."""

    def __init__(self, f: Task, form: SoftmaxForm, place: Place) -> None:
        a = f.arguments
        self.f, self.scale, self.form = f, a.scale.splat(), form
        self.x = _row(f, a, "x", form.x, place)
        self.mask = None if form.mask is None else _row(f, a, "mask", form.mask, place)
        self.bias = None if form.bias is None else _row(f, a, "bias", form.bias, place)

    def load(self, column: Value, mask: Value | None) -> Value:
        f = self.f
        value = self.x.load(column, mask)
        if self.form.scaled:
            value = value * self.scale
        if self.bias is not None:
            value = value + self.bias.load(column, mask)
        if self.mask is not None:
            entries = self.mask.load(column, mask)
            if self.form.mask == "bool":
                value = f.select(entries.differs(0), value, -_INFINITY)
            else:
                value = value + entries
        return value if mask is None else f.select(mask, value, -_INFINITY)


def _row(f: Function, a: SimpleNamespace, name: str, dtype: str, place: Place) -> Array:
    strides = tuple(getattr(a, f"{name}_{level}") for level in ("outer", "middle", "inner"))
    return f.array(getattr(a, name), ELEMENTS[dtype]).at(place.offset(strides))


def _highest(f: Function, scores: _Scores, width: Value) -> Value:
    """The row's maximum; NaN is passed over here and appears with the exponentials."""
    tops = [f.variable(f.full(-_INFINITY)) for _ in range(WAYS)]
    for column, mask, way in sweep(f, width, tops):
        tops[way].set(f.maximum(scores.load(column, mask), tops[way]))
    a, b = f.maximum(tops[0], tops[1]), f.maximum(tops[2], tops[3])
    return f.reduce("max", f.maximum(a, b))
