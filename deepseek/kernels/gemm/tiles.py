"""The inner loop on AMX: tiles of 16 rows and 64 bytes, multiplied as a whole.

The operands lie as for :mod:`.microkernel`. A tile of weights is 16 steps of a panel, of as many
columns as a vector has lanes, 4 bytes each; a tile of activations is 16 rows of the same 16 steps.
Up to 32 rows are multiplied at once::

          weights:  B | B | B      loaded one after the other
     rows   A       C | C | C      six tiles of sums
     rows   A       C | C | C

Two tiles one below the other are equally high, so that one register serves the activations of both:
of an odd number of rows the one in the middle belongs to both, and is computed twice alike.

What is left of K, less than 16 steps, is multiplied at last by tiles of that many steps: reading
further would multiply what lies behind a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import I8, I64, VOID, Module
from deepseek.kernels.gemm.microkernel import PARAMETERS
from deepseek.kernels.gemm.spec import FORMATS, SIZES, TILE_ROWS, tile_for

if TYPE_CHECKING:
    from deepseek.kernels.emit import Function, Value
    from deepseek.kernels.target import Target

__all__ = ["build_tiled_microkernel"]

_PRODUCTS = {"bf16": "llvm.x86.tdpbf16ps", "u8s8": "llvm.x86.tdpbusd"}

_STEPS = 16  # of a tile of weights
_LINE = 64  # bytes of a row of a tile
_SUMS = (0, 1, 2), (3, 4, 5)  # registers of the tiles of sums, by rows and columns
_X, _WEIGHTS = 6, 7


def build_tiled_microkernel(target: Target, format_name: str, rows: int) -> Module:
    """The module of the microkernel for so many rows, at most 32; parameters as of the others."""
    scheme, tile = FORMATS[format_name], tile_for(target)
    module = Module(f"deepseek_tiles_{format_name}_{rows}", target)
    pitch = tile.columns * scheme.word  # bytes of a step of the panel, and of a row of sums
    firsts = [0] if rows <= TILE_ROWS else [0, rows // 2]
    height = rows - firsts[-1]
    places = [(row * pitch + column * _LINE, register)
              for row, line in zip(firsts, _SUMS, strict=False)
              for column, register in enumerate(line)]  # fmt: skip
    with module.function(module.name, PARAMETERS, exported=True) as f:
        p = f.parameters
        layout = f.scratch(8, I64)
        x_pitch = p["x_stride"] * SIZES[scheme.x]
        width = f.index(pitch)

        def add(first: Value, end: Value, stride: int) -> None:
            """Add the products of steps to the tile, as many at a time as the registers hold."""
            for place, register in places:
                _load(f, register, f.offset(p["tile"], place, I8), width)
            for step in f.range(first, end, stride):
                for row, sums in zip(firsts, _SUMS, strict=False):
                    start = step * scheme.word + x_pitch * row
                    _load(f, _X, f.offset(p["x"], start, I8), x_pitch)
                    for column, register in enumerate(sums):
                        start = step * pitch + column * _LINE
                        _load(f, _WEIGHTS, f.offset(p["panel"], start, I8), width)
                        names = [f.constant(n, I8) for n in (register, _X, _WEIGHTS)]
                        f.call(_PRODUCTS[format_name], VOID, *names)
            for place, register in places:
                there = f.offset(p["tile"], place, I8)
                f.call("llvm.x86.tilestored64", VOID, f.constant(register, I8), there, width)

        whole = p["steps"] & -_STEPS
        rest = p["steps"] - whole
        with f.when(whole > 0):
            _configure(f, layout.pointer, height, f.index(_STEPS))
            add(f.index(0), whole, _STEPS)
        with f.when(rest > 0):
            _configure(f, layout.pointer, height, rest)
            add(whole, whole + 1, 1)
        f.call("llvm.x86.tilerelease", VOID)
    return module


def _load(f: Function, register: int, pointer: Value, pitch: Value) -> None:
    f.call("llvm.x86.tileloadd64", VOID, f.constant(register, I8), pointer, pitch)


def _configure(f: Function, layout: Value, height: int, steps: Value) -> None:
    """Set the registers' sizes: 64 bytes wide but for x, as high as the rows or steps.

    Of the 64 bytes that say so, the first is 1; from 16 on stand widths of 2 bytes, from 48 on
    heights of one byte.
    """
    words = {
        0: f.index(1),
        2: f.index(sum(_LINE << 16 * place for place in range(4))),
        3: (steps << 34) + sum(_LINE << 16 * place for place in (0, 1, 3)),
        6: (steps << 56) + sum(rows << 8 * place for place, rows in enumerate([height] * 7)),
    }
    for word in range(8):
        f.store(words.get(word, f.index(0)), f.offset(layout, word, I64), align=8)
    f.call("llvm.x86.ldtilecfg", VOID, layout)
