"""Products of small matrices that lie in the first-level cache: ``c (+)= a @ b``.

::

    a, rows x steps        b, steps x columns
    +---------------+      +-----------+
    | broadcast     |      |           |     each step: one value of every row of a tile,
    | down the rows |  x   | a row     |     broadcast, times a row of b, added to the tile
    +---------------+      | a step    |
                           +-----------+
                               c, a tile at a time in registers

The left operand may be read transposed: its values are broadcast one by one, from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepseek.kernels.attend.spec import tile_for
from deepseek.kernels.emit import I64, POINTER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deepseek.kernels.emit import Array, Function, Module

__all__ = ["Product", "emit_product"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Where the operands' elements are; distances in elements.

    Attributes:
        a_row: From one row of ``a`` to the next.
        a_step: From one column of ``a`` to the next.
        b_step: From one row of ``b`` to the next.
        c_row: From one row of ``c`` to the next.
        columns: Of ``b`` and ``c``: whole vector registers.
        adds: Whether ``c`` is added to, else overwritten.
    """

    a_row: int
    a_step: int = 1
    b_step: int
    c_row: int
    columns: int
    adds: bool


def emit_product(module: Module, name: str, product: Product) -> str:
    """Add the function ``name(a, b, c, rows, steps)`` and return its name.

    The rows are rounded up to whole tiles: ``a`` and ``c`` must have room for that.
    """
    tile = tile_for(module.target)
    lanes = module.target.lanes
    parameters = {"a": POINTER, "b": POINTER, "c": POINTER, "rows": I64, "steps": I64}
    with module.function(name, parameters) as f:
        a, b, c = (f.array(f.parameters[operand]) for operand in "abc")
        for row in f.range(0, f.parameters["rows"], tile.rows):
            for first, vectors, count in _runs(product.columns // lanes, tile.vectors):
                for part in f.range(0, count):
                    column = part * (vectors * lanes) + first * lanes
                    corner = c.at(row * product.c_row).at(column)
                    rows = a.at(row * product.a_row)
                    _emit_tile(f, product, tile.rows, vectors, rows, b.at(column), corner)
    return name


def _emit_tile(
    f: Function, product: Product, rows: int, vectors: int, a: Array, b: Array, c: Array
) -> None:
    places = [
        [row * product.c_row + vector * f.lanes for vector in range(vectors)] for row in range(rows)
    ]
    sums = [
        [f.variable(c.load(place) if product.adds else f.zeros()) for place in line]
        for line in places
    ]
    flat = [total for totals in sums for total in totals]
    for step in f.range(0, f.parameters["steps"], carry=flat):
        at_step = b.at(step * product.b_step)
        right = [at_step.load(vector * f.lanes) for vector in range(vectors)]
        left = a.at(step * product.a_step)
        for row, totals in enumerate(sums):
            x = left.spread(row * product.a_row)
            for total, y in zip(totals, right, strict=True):
                total.set(f.fma(x, y, total))
    for line, totals in zip(places, sums, strict=True):
        for place, total in zip(line, totals, strict=True):
            c.store(total, place)


def _runs(vectors: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Share vectors out evenly: runs of equal tiles as (first vector, vectors a tile, tiles)."""
    tiles = -(-vectors // most)
    narrow, wide = divmod(vectors, tiles)
    if wide:
        yield 0, narrow + 1, wide
    yield wide * (narrow + 1), narrow, tiles - wide
