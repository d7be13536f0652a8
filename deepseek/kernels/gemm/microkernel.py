"""The inner loop: a few rows of activations times one panel of weights, sums held in registers.

::

    x, rows x K            panel, K steps x columns
    +---------------+      +-----------+
    | broadcast     |      |           |     each step: 4 bytes of every row, broadcast,
    | down the rows |  x   | streamed  |     times the panel's row, added to the tile
    +---------------+      | once      |
                           +-----------+
                  tile, rows x columns: in registers here, in the workspace before and after
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import ELEMENTS, I16, I32, I64, POINTER, Module
from deepseek.kernels.gemm.products import PRODUCTS
from deepseek.kernels.gemm.spec import FORMATS, tile_for

if TYPE_CHECKING:
    from deepseek.kernels.emit import Array, Function, Value, Variable
    from deepseek.kernels.gemm.spec import Format, Tile
    from deepseek.kernels.target import Target

__all__ = ["LATE", "MEMORY_BOUND_ROWS", "PARAMETERS", "STORE", "build_microkernel"]

_WORDS = {2: I16, 4: I32}  # what a step of a panel holds for a column, by its bytes

# A fused multiply-add takes four cycles and two may begin in each: a tile with fewer sums than
# this waits for its own results, and keeps several partial sums instead.
_SUMS_IN_FLIGHT = 8

# Steps a turn of the loop: what counts addresses takes the units that multiply, and a Xeon has but
# two of those. From 2 to 8 gave the same 1 to 4 %, and 7 % on that Xeon held to AVX2. Where weights
# are widened first, 16 registers are too few for it.
_UNROLLED = 4

MEMORY_BOUND_ROWS = 2
"""So few rows take less time than their weights need from memory, and the next are asked for early.
Plain streams of fp32 get nothing from it.

A tile of AVX-512 takes a line of weights every four cycles, one of AVX2 every six, and on a Xeon
the L1 cache's own prefetcher does not keep up with that from the L2 cache: there all rows ask for
them, which gave 3 to 10 %, 15 % with 4 rows, and 2 % with AVX2."""

STORE = {
    "arguments": POINTER, "sums": POINTER, "row": I64, "column": I64, "first": I64, "last": I64,
}  # fmt: skip
"""Of the function that stores a finished tile: the kernel's arguments, the tile, its place in the
result, and which of its lines."""

LATE = {
    "store": POINTER, "arguments": POINTER, "sums": POINTER, "row": I64, "column": I64,
    "height": I64,
}  # fmt: skip
"""A tile that was finished before, all ``height`` lines of it, and what stores it: AMX multiplies
while vectors do the rest. Microkernels of vectors leave it alone."""

PARAMETERS = {
    "x": POINTER, "x_stride": I64, "panel": POINTER, "steps": I64, "half": I64, "tile": POINTER,
    "fresh": I64, **LATE,
}  # fmt: skip
"""Of a microkernel: rows of x, elements from one to the next, the panel, its whole steps, whether
half a step follows, the tile that the products are added to, and whether it counts as zero; then
what it is to store meanwhile."""

Sums = list[list["Variable"]]


def build_microkernel(target: Target, format_name: str, rows: int) -> Module:
    """The module of the microkernel for so many rows: ``tile += x @ panel``."""
    scheme, tile = FORMATS[format_name], tile_for(target)
    module = Module(f"deepseek_rows_{format_name}_{rows}", target)
    with module.function(module.name, PARAMETERS, exported=True) as f:
        p = f.parameters
        x = [f.array(p["x"], ELEMENTS[scheme.x])]
        for _ in range(rows - 1):
            x.append(x[-1].at(p["x_stride"]))
        panel = f.array(p["panel"], _WORDS[scheme.word], align=scheme.word * tile.lanes)
        result = f.array(p["tile"], ELEMENTS[scheme.sums], align=4 * tile.lanes)
        places = [[row * tile.columns + vector * tile.lanes for vector in range(tile.vectors)]
                  for row in range(rows)]  # fmt: skip

        sums = [[f.variable(f.zeros(result.element)) for _ in line] for line in places]
        with f.when(p["fresh"].equals(0), carry=_flat(sums)):
            for line, totals in zip(places, sums, strict=True):
                for place, total in zip(line, totals, strict=True):
                    total.set(result.load(place))
        _multiply(f, scheme, tile, x, panel, sums)
        for line, totals in zip(places, sums, strict=True):
            for place, total in zip(line, totals, strict=True):
                result.store(total, place)
    return module


def _multiply(
    f: Function, scheme: Format, tile: Tile, x: list[Array], panel: Array, sums: Sums
) -> None:
    """Run through the panel: blocks of steps on partial sums, single steps, half a step."""
    product = PRODUCTS[scheme.name]
    steps, half = f.parameters["steps"], f.parameters["half"]
    chains = max(1, _SUMS_IN_FLIGHT // (len(x) * tile.vectors))

    early = f.target.avx2 or (len(x) <= MEMORY_BOUND_ROWS and scheme.group > 1)

    def weights(step: Value) -> list[Value]:
        if early:
            f.prefetch(panel.at(step * tile.columns).pointer, tile.columns * scheme.word)
        return [panel.load(step * tile.columns + v * tile.lanes) for v in range(tile.vectors)]

    done: Value | int = 0
    if chains > 1:
        number = ELEMENTS[scheme.sums]
        partial = [[[f.variable(f.zeros(number)) for _ in totals] for totals in sums]
                   for _ in range(chains - 1)]  # fmt: skip
        grids = [sums, *partial]
        done = steps & -chains
        for step in f.range(0, done, chains, carry=[s for grid in grids for s in _flat(grid)]):
            for ahead, grid in enumerate(grids):
                product(f, x, step + ahead, weights(step + ahead), grid)
        for grid in partial:
            for total, part in zip(_flat(sums), _flat(grid), strict=True):
                total += part  # noqa: PLW2901 - a variable is replaced in place
    elif f.target.avx512 or scheme.group == 1:
        done = steps & -_UNROLLED
        for step in f.range(0, done, _UNROLLED, carry=_flat(sums)):
            for ahead in range(_UNROLLED):
                product(f, x, step + ahead, weights(step + ahead), sums)
    for step in f.range(done, steps, carry=_flat(sums)):
        product(f, x, step, weights(step), sums)
    if scheme.group > 1 and not scheme.quantized:
        with f.when(half > 0, carry=_flat(sums)):
            product(f, x, steps, weights(steps), sums, half=True)


def _flat(sums: Sums) -> list[Variable]:
    return [total for totals in sums for total in totals]
