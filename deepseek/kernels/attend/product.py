"""Products of small matrices in the first-level cache: ``c = a @ b``, or ``c += a @ b``.

::

    a, rows x steps        b, steps x columns
    +---------------+      +-----------+
    | broadcast     |      |           |     each step: one value of every row of a tile,
    | down the rows |  x   | a row     |     broadcast, times a row of b, added to the tile
    +---------------+      | a step    |
                           +-----------+
                               c, a tile at a time in registers

Sizes and distances are arguments, so that all products of attention, forward and backward, with
operands packed or as they lie, are calls of one kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepseek.kernels.attend.spec import tile_for
from deepseek.kernels.emit import I64, POINTER, VOID, Module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deepseek.kernels.emit import Array, Function, Operand, Value
    from deepseek.kernels.target import Target

__all__ = ["Grid", "build_product", "emit_multiply"]

_PARAMETERS = {
    "a": POINTER, "a_row": I64, "a_step": I64, "b": POINTER, "b_step": I64,
    "c": POINTER, "c_row": I64, "rows": I64, "steps": I64, "vectors": I64, "adds": I64,
}  # fmt: skip


_SQUARE = 4
"""Where the registers of a row are a multiple of four, which a block of 64 keys and depths of 64
and 128 are with AVX-512, a tile of 4 x 4 of them is better than 8 x 2: it loads 8 registers for 16
products instead of 10. On a Xeon attention took 5 % less time."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A matrix of fp32 in memory; distances in elements.

    Attributes:
        corner: Its first element.
        row: From one row to the next.
        column: From one column to the next, which is 1 except in a left operand.
    """

    corner: Array
    row: Operand
    column: Operand = 1

    @property
    def transposed(self) -> Grid:
        """The same numbers with rows for columns."""
        return Grid(self.corner, self.column, self.row)


def emit_multiply(
    f: Function,
    kernel: Value,
    a: Grid,
    b: Grid,
    c: Grid,
    *,
    rows: Operand,
    steps: Operand,
    columns: int,
    adds: bool,
) -> None:
    """Call the product's kernel.

    Args:
        f: Where from.
        kernel: Its address.
        a: ``rows`` x ``steps``; with room for rows up to whole tiles, and so has ``c``.
        b: ``steps`` x ``columns``.
        c: ``rows`` x ``columns``.
        rows: How many.
        steps: How many.
        columns: How many, whole vector registers.
        adds: Whether ``c`` is added to, else overwritten.
    """
    f.call_pointer(
        kernel, _PARAMETERS.values(), VOID,
        a.corner.pointer, f.index(a.row), f.index(a.column), b.corner.pointer, f.index(b.row),
        c.corner.pointer, f.index(c.row), f.index(rows), f.index(steps),
        f.index(columns // f.lanes), f.index(int(adds)),
    )  # fmt: skip


def build_product(target: Target) -> Module:
    """The module of the one product."""
    module = Module("deepseek_attention_product", target)
    tile_rows = tile_for(target).rows
    with module.function(module.name, _PARAMETERS, exported=True) as f:
        p = f.parameters
        a, b, c = (f.array(p[operand]) for operand in "abc")
        others = p["rows"]
        if target.registers >= 32:
            squared = (p["vectors"] & (_SQUARE - 1)).equals(0)
            others = f.select(squared, f.index(0), others)
            for row in f.range(0, p["rows"] - others, _SQUARE):
                left, line = a.at(row * p["a_row"]), c.at(row * p["c_row"])
                for part in f.range(0, p["vectors"], _SQUARE):
                    column = part * f.lanes
                    _emit_tile(f, _SQUARE, _SQUARE, left, b.at(column), line.at(column))
        for row in f.range(0, others, tile_rows):
            left, line = a.at(row * p["a_row"]), c.at(row * p["c_row"])
            for width, first, count in _runs(f, p["vectors"]):
                for part in f.range(0, count):
                    column = (first + part * width) * f.lanes
                    _emit_tile(f, tile_rows, width, left, b.at(column), line.at(column))
    return module


def _runs(f: Function, vectors: Value) -> Iterator[tuple[int, Value, Value]]:
    """Share the registers of a row out to tiles of three and two, or one where there is but one.

    Yields:
        Registers a tile, the first of the run, and how many tiles it has.
    """
    lone = vectors.equals(1)
    narrow = f.select(lone, f.index(0), vectors * 2 % 3)
    wide = (vectors - narrow * 2) // 3
    yield 3, f.index(0), wide
    yield 2, wide * 3, narrow
    yield 1, f.index(0), f.select(lone, f.index(1), 0)


def _emit_tile(f: Function, rows: int, vectors: int, a: Array, b: Array, c: Array) -> None:
    p = f.parameters
    left = [a.at(p["a_row"] * row) for row in range(rows)]
    places = [
        (p["c_row"] * row + vector * f.lanes) for row in range(rows) for vector in range(vectors)
    ]
    sums = [f.variable(f.zeros()) for _ in places]
    with f.when(p["adds"] > 0, carry=sums):
        for total, place in zip(sums, places, strict=True):
            total.set(c.load(place))
    for step in f.range(0, p["steps"], carry=sums):
        at_step = b.at(step * p["b_step"])
        right = [at_step.load(vector * f.lanes) for vector in range(vectors)]
        for row in range(rows):
            x = left[row].spread(step * p["a_step"])
            for vector, y in enumerate(right):
                total = sums[row * vectors + vector]
                total.set(f.fma(x, y, total))
    for total, place in zip(sums, places, strict=True):
        c.store(total, place)
