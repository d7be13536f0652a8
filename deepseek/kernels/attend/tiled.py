"""The two products of attention in bf16 on AMX, for blocks of at least 32 queries and keys.

::

      queries, bf16        keys, words            weights, bf16        values, words
     +-----------+      +-------------+          +-----------+      +---------------+
     | row by row|  x   | pairs of    |          | row by row|  x   | pairs of keys |
     |           |      | values down |          |           |      | down          |
     +-----------+      +-------------+          +-----------+      +---------------+

A word holds two bf16 numbers, which meet two neighbours on the left. Of each result four tiles are
made at a time, two above two, so that every tile that is loaded is used twice. Queries stay as they
are; the scale is applied to the scores, which are fp32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.attend.spec import TILE
from deepseek.kernels.emit import BF16, I64, POINTER, tiles
from deepseek.kernels.emit.tiles import STEPS, SUMS, WEIGHTS, X

if TYPE_CHECKING:
    from deepseek.kernels.attend.spec import Form
    from deepseek.kernels.emit import Array, Function, Module

__all__ = ["emit_tiled"]

_VALUES = 2 * STEPS  # bf16 numbers in a row of a tile


def emit_tiled(module: Module, form: Form) -> None:
    """``score_tiles(queries, keys, scores, rows)``, ``gather_tiles(weights, values, sums, rows)``.

    Rows are a multiple of 32; the second adds to ``sums``.
    """
    _emit_product(module, "score_tiles", form.depth, form.block, adds=False)
    _emit_product(module, "gather_tiles", form.block, form.value_depth, adds=True)


def _emit_product(module: Module, name: str, steps: int, columns: int, *, adds: bool) -> None:
    """``[rows][steps]`` of bf16 times ``[steps / 2][columns]`` of words."""
    parameters = {"left": POINTER, "right": POINTER, "into": POINTER, "rows": I64}
    with module.function(name, parameters) as f:
        p = f.parameters
        left, right, into = f.array(p["left"], BF16), f.array(p["right"]), f.array(p["into"])
        for row in f.range(0, p["rows"], TILE):
            for column in f.range(0, columns, TILE):
                lines, corner = left.at(row * steps), into.at(row * columns).at(column)
                _emit_square(f, lines, right.at(column), corner, steps, columns, adds=adds)


def _emit_square(
    f: Function, left: Array, right: Array, into: Array, steps: int, columns: int, *, adds: bool
) -> None:
    """32 rows of 32 sums."""
    half = TILE // 2
    sums = [
        (register, into.at(half * line * columns + half * place).pointer)
        for line, registers in enumerate(SUMS)
        for place, register in enumerate(registers)
    ]
    for register, pointer in sums:
        if adds:
            tiles.load(f, register, pointer, columns * 4)
        else:
            tiles.zero(f, register)
    for step in range(0, steps, _VALUES):
        for place, weights in enumerate(WEIGHTS):
            words = right.at(step // 2 * columns + half * place).pointer
            tiles.load(f, weights, words, columns * 4)
            for line, x in enumerate(X):
                if place == 0:
                    tiles.load(f, x, left.at(half * line * steps + step).pointer, steps * 2)
                tiles.multiply(f, "bf16", SUMS[line][place], x, weights)
    for register, pointer in sums:
        tiles.store(f, register, pointer, columns * 4)
