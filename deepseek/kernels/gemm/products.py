"""One step of each format's inner loop: the instructions that multiply and add.

A step consumes 4 bytes of every row: one fp32 value, two bf16 values, or integers (see
:mod:`deepseek.kernels.gemm.integer`). It broadcasts them and multiplies them with a panel's row of
weights, one group a lane. ``half`` is the last step of
an odd K, whose second value would lie beyond the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from deepseek.kernels.emit import BF16, F32, I16, I32
from deepseek.kernels.gemm import integer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.kernels.emit import Array, Function, Value, Variable

__all__ = ["PRODUCTS", "Product"]


class Product(Protocol):
    """Emit one step: add the products of ``rows`` and ``weights`` to the sums of the tile."""

    def __call__(
        self,
        f: Function,
        rows: Sequence[Array],
        step: Value,
        weights: Sequence[Value],
        sums: Sequence[Sequence[Variable]],
        *,
        half: bool = False,
    ) -> None:
        """``rows`` are arrays of activations; ``weights`` a panel's row, one word a lane."""


def fp32(
    f: Function,
    rows: Sequence[Array],
    step: Value,
    weights: Sequence[Value],
    sums: Sequence[Sequence[Variable]],
    *,
    half: bool = False,
) -> None:
    """Add x * w."""
    assert not half
    columns = [weight.bits(F32) for weight in weights]
    for row, totals in zip(rows, sums, strict=True):
        x = row.spread(step)
        for total, w in zip(totals, columns, strict=True):
            total.set(f.fma(x, w, total))


def bf16(
    f: Function,
    rows: Sequence[Array],
    step: Value,
    weights: Sequence[Value],
    sums: Sequence[Sequence[Variable]],
    *,
    half: bool = False,
) -> None:
    """Add x0 * w0 + x1 * w1 by the AVX-512 BF16 instruction."""
    for row, totals in zip(rows, sums, strict=True):
        address = f.offset(row.pointer, step + step, BF16)
        pair = f.unsigned(f.load(address, I16), I32) if half else f.load(address, I32, align=2)
        x = pair.splat(f.lanes).bits(BF16)
        for total, weight in zip(totals, weights, strict=True):
            w = weight.bits(BF16)
            product = f.call("llvm.x86.avx512bf16.dpbf16ps.512", total.type, total, x, w)
            total.set(product)


def mixed(
    f: Function,
    rows: Sequence[Array],
    step: Value,
    weights: Sequence[Value],
    sums: Sequence[Sequence[Variable]],
    *,
    half: bool = False,
) -> None:
    """Add x0 * w0 + x1 * w1 in fp32; a bf16 value is the upper half of its fp32 value."""
    firsts = [(weight << 16).bits(F32) for weight in weights]
    seconds = [] if half else [(weight & -0x10000).bits(F32) for weight in weights]
    for position, columns in enumerate((firsts, seconds)):
        if columns:
            for row, totals in zip(rows, sums, strict=True):
                x = row.spread(step + step + position)
                for total, w in zip(totals, columns, strict=True):
                    total.set(f.fma(x, w, total))


PRODUCTS: dict[str, Product] = {
    "fp32": fp32,
    "bf16": bf16,
    "mixed": mixed,
    "u8s8": integer.quads,
    "s8s8": integer.quads,
    "s16s8": integer.pairs,
}
"""By the name of the format."""
