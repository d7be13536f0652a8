"""One step of the inner loop of the int8 formats: integer products, added up in 32 bits.

The sums are those of the stored integers, which may be shifted against the quantized ones; the
epilogue takes the shift out again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import I8, I16, I32, dot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.kernels.emit import Array, Function, Value, Variable

__all__ = ["pairs", "quads"]


def quads(
    f: Function,
    rows: Sequence[Array],
    step: Value,
    weights: Sequence[Value],
    sums: Sequence[Sequence[Variable]],
    *,
    half: bool = False,
) -> None:
    """Add four products of 8-bit integers by one instruction."""
    assert not half
    for row, totals in zip(rows, sums, strict=True):
        x = f.load(f.offset(row.pointer, step, I32), I32).splat(f.lanes)
        for total, w in zip(totals, weights, strict=True):
            total.set(dot.quads(total, x, w))


def pairs(
    f: Function,
    rows: Sequence[Array],
    step: Value,
    weights: Sequence[Value],
    sums: Sequence[Sequence[Variable]],
    *,
    half: bool = False,
) -> None:
    """Add two products of 16-bit integers; the weights, of 8 bits, are widened as they come."""
    assert not half
    columns = [weight.bits(I8).to(I16).bits(I32) for weight in weights]
    for row, totals in zip(rows, sums, strict=True):
        x = f.load(f.offset(row.pointer, step, I32), I32).splat(f.lanes)
        for total, w in zip(totals, columns, strict=True):
            total.set(dot.pairs(total, x, w))
