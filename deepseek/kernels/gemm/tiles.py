"""The inner loop on AMX: tiles of 16 rows and 64 bytes, multiplied as a whole.

The operands lie as for :mod:`.microkernel`. A tile of weights is 16 steps of a panel, of as many
columns as a vector has lanes, 4 bytes each; a tile of activations is 16 rows of the same 16 steps.
Up to 32 rows are multiplied by two tiles of weights at once, and then by the panel's third::

                 W | W
     rows   X    S | S      four tiles of sums, two of activations, two of weights
     rows   X    S | S

Two tiles one below the other are equally high: where the rows are odd, the one in the middle
belongs to both, and is computed twice alike.

What is left of K, less than 16 steps, is multiplied at last by tiles of that many steps: reading
further would multiply what lies behind a row.

A product of tiles takes 16 cycles, in which the vector units have nothing to do. They store the
tile that was finished before, some lines at each step: bias, activation and rounding cost no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import I8, VOID, Module, tiles
from deepseek.kernels.emit.tiles import LINE, STEPS, SUMS, WEIGHTS, X
from deepseek.kernels.gemm.microkernel import PARAMETERS, STORE
from deepseek.kernels.gemm.spec import FORMATS, SIZES, TILED, tile_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.kernels.emit import Value
    from deepseek.kernels.target import Target

__all__ = ["build_tiled_microkernel"]

assert set(tiles.PRODUCTS) == set(TILED)

_SPARE = (1, 3)  # registers of the second column of sums


def build_tiled_microkernel(target: Target, format_name: str, rows: int, height: int) -> Module:
    """The module of the microkernel for so many rows, at most 32; parameters as of the others.

    ``height`` is that of the tiles that have been configured: at most ``rows``, at least half.
    """
    scheme, tile = FORMATS[format_name], tile_for(target)
    module = Module(f"deepseek_tiles_{format_name}_{rows}_{height}", target)
    pitch = tile.columns * scheme.word  # bytes of a step of the panel, and of a row of sums
    firsts = [0] if rows == height else [0, rows - height]
    with module.function(module.name, PARAMETERS, exported=True) as f:
        p = f.parameters
        x_pitch, width = p["x_stride"] * SIZES[scheme.x], f.index(pitch)
        rest = p["steps"] & (STEPS - 1)
        whole = p["steps"] - rest
        turns = f.maximum(whole // STEPS, 1)
        share = (p["height"] + (turns - 1)) // turns

        def store(first: Value) -> None:
            """Store the waiting tile's share of lines that begins there."""
            with f.when(first < p["height"]):
                last = f.minimum(first + share, p["height"])
                places = (p[name] for name in ("arguments", "sums", "row", "column"))
                f.call_pointer(p["store"], STORE.values(), VOID, *places, first, last)

        def multiply(columns: range, step: Value, x: Sequence[int], weights: Sequence[int]) -> None:
            """Add the products of a step; what they need is loaded just before its first use."""
            activations = f.offset(p["x"], step * scheme.word, I8)
            panel = f.offset(p["panel"], step * pitch, I8)
            for place, column in enumerate(columns):
                for line, row in enumerate(firsts):
                    if line == 0:
                        tiles.load(f, weights[place], f.offset(panel, column * LINE, I8), width)
                    if place == 0:
                        tiles.load(f, x[line], f.offset(activations, x_pitch * row, I8), x_pitch)
                    tiles.multiply(f, format_name, SUMS[line][place], x[line], weights[place])

        def add(columns: range, first: Value, end: Value, stride: int, fresh: Value) -> None:
            """Add the products of some steps to two columns of the tile, or to one."""
            sums = [(register, f.offset(p["tile"], row * pitch + column * LINE, I8))
                    for row, line in zip(firsts, SUMS, strict=False)
                    for column, register in zip(columns, line, strict=False)]  # fmt: skip
            with f.when(fresh > 0):
                for register, _ in sums:
                    tiles.zero(f, register)
            with f.when(fresh.equals(0)):
                for register, place in sums:
                    tiles.load(f, register, place, width)
            # A register can be loaded again only after its last product: one column has registers
            # to spare, and takes others for every second step.
            spare = len(columns) == 1
            done: Value | int = first
            if spare:
                done = first + ((end - first) & (-2 * stride))
                for step in f.range(first, done, 2 * stride):
                    multiply(columns, step, X, WEIGHTS)
                    multiply(columns, step + stride, _SPARE, WEIGHTS[1:])
            for step in f.range(done, end, stride):
                multiply(columns, step, X, WEIGHTS)
                if not spare and stride == STEPS:
                    store((step // STEPS) * share)
            for register, place in sums:
                tiles.store(f, register, place, width)

        pairs = [range(2), range(2, 3)]
        assert tile.vectors == sum(map(len, pairs))
        with f.when(whole > 0):
            for columns in pairs:
                add(columns, f.index(0), whole, STEPS, p["fresh"])
        with f.when(whole.equals(0)):
            store(f.index(0))
        with f.when(rest > 0):
            tiles.configure(f, f.index(height), rest)
            fresh = f.select(whole > 0, f.index(0), p["fresh"])
            for columns in pairs:
                add(columns, whole, whole + 1, 1, fresh)
            tiles.configure(f, f.index(height))
    return module
