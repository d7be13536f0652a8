"""The inner loop for weights of few bits, with a scale for every group of values along K.

Within a group the products are of integers: the group's weights, widened to 16 bits in registers,
and its activations, which are 16-bit integers with a scale for the group too. Then

    total += (sum of products - zero point * sum of activations) * scale of x * scale of weight

A step of the driver is a whole group. This reads 4 or 8 bits a weight and takes half the
instructions of a product in fp32, which on AVX2 could not keep up with the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import ELEMENTS, F32, I8, I16, I32, Module, dot
from deepseek.kernels.gemm.microkernel import MEMORY_BOUND_ROWS, PARAMETERS
from deepseek.kernels.gemm.spec import FORMATS, HEADER, GroupedFormat, tile_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.kernels.emit import Array, Function, Value, Variable
    from deepseek.kernels.gemm.spec import Tile
    from deepseek.kernels.target import Target

__all__ = ["build_grouped_microkernel"]

_FEW_SUMS = 4  # so many totals stay in registers beside the sums of a group

Sums = list[list["Variable"]]


def build_grouped_microkernel(target: Target, format_name: str, rows: int) -> Module:
    """The module of the microkernel for so many rows; parameters as those of the others."""
    scheme, tile = FORMATS[format_name], tile_for(target)
    assert isinstance(scheme, GroupedFormat)
    module = Module(f"deepseek_rows_{format_name}_{rows}", target)
    with module.function(module.name, PARAMETERS, exported=True) as f:
        p = f.parameters
        x = [f.array(p["x"], I16)]
        for _ in range(rows - 1):
            x.append(x[-1].at(p["x_stride"]))
        result = f.array(p["tile"], F32, align=4 * tile.lanes)
        places = [(row, vector, row * tile.columns + vector * tile.lanes)
                  for row in range(rows) for vector in range(tile.vectors)]  # fmt: skip

        kept = len(places) <= _FEW_SUMS
        totals = [f.variable(f.zeros()) for _ in places] if kept else []
        with f.when(p["fresh"].equals(0), carry=totals):
            for (_, _, place), total in zip(places, totals, strict=kept):
                total.set(result.load(place))
        if not kept:
            with f.when(p["fresh"] > 0):
                for _, _, place in places:
                    result.store(f.zeros(), place)
        for step in f.range(0, p["steps"], carry=totals):
            panel = f.offset(p["panel"], step * (scheme.word * tile.columns), I8)
            group = [row.at(step * scheme.span) for row in x]
            sums = _sums(f, scheme, tile, group, panel)
            numbers = _numbers(f, scheme, tile, group, panel, sums)
            for position, (row, vector, place) in enumerate(places):
                if kept:
                    totals[position] += numbers[row][vector]
                else:
                    result.store(result.load(place) + numbers[row][vector], place)
        for (_, _, place), total in zip(places, totals, strict=kept):
            result.store(total, place)
    return module


def _sums(f: Function, scheme: GroupedFormat, tile: Tile, x: Sequence[Array], panel: Value) -> Sums:
    """The products of a group, added up, of every row and vector of columns."""
    sums = [[f.variable(f.zeros(I32)) for _ in range(tile.vectors)] for _ in x]
    carry = [total for totals in sums for total in totals]
    weights = _nibbles if scheme.bits == 4 else _bytes
    size = scheme.bits * tile.columns  # bytes of eight values of every column
    for eight in f.range(0, scheme.group // 8, carry=carry):
        block = f.offset(panel, eight * size, I8)
        if len(x) <= MEMORY_BOUND_ROWS:
            f.prefetch(block, size)
        for pair, columns in enumerate(weights(f, tile, block)):
            for activations, totals in zip(x, sums, strict=True):
                place = activations.at(eight * 8 + 2 * pair).pointer
                two = f.load(place, I32).splat(f.lanes)
                for total, w in zip(totals, columns, strict=True):
                    total.set(dot.pairs(total, two, w))
    return sums


def _nibbles(f: Function, tile: Tile, block: Value) -> list[list[Value]]:
    """Four pairs of weights from 0 to 15 a column, as 16-bit integers: all from one word."""
    words = [word.bits(I16) for word in _row(f.array(block, I32), tile, 0)]
    return [[(f.shift_right(word, 4 * pair) & 15).bits(I32) for word in words] for pair in range(4)]


def _bytes(f: Function, tile: Tile, block: Value) -> list[list[Value]]:
    """Four pairs of signed weights a column, as 16-bit integers."""
    pairs = [_row(f.array(block, I16), tile, pair) for pair in range(4)]
    return [[word.bits(I8).to(I16).bits(I32) for word in words] for words in pairs]


def _row(words: Array, tile: Tile, row: int) -> list[Value]:
    return [words.load(row * tile.columns + v * tile.lanes) for v in range(tile.vectors)]


def _numbers(
    f: Function, scheme: GroupedFormat, tile: Tile, x: Sequence[Array], panel: Value, sums: Sums
) -> list[list[Value]]:
    """What the sums of a group stand for: less the zero points' share, times both scales."""
    columns = tile.columns
    scales = f.array(f.offset(panel, columns * scheme.group * scheme.bits // 8, I8),
                     ELEMENTS[scheme.scales])  # fmt: skip
    zeros = f.array(scales.at(columns).pointer, ELEMENTS["bfloat16"])
    numbers: list[list[Value]] = [[] for _ in x]
    for vector in range(tile.vectors):
        scale = scales.load(vector * tile.lanes)
        zero: Value | float = 8.0 if scheme.bits == 4 else 0.0
        if scheme.zeros:
            zero = zeros.load(vector * tile.lanes)
        for row, activations in enumerate(x):
            header = f.array(f.offset(activations.pointer, -HEADER, I8), F32)
            number = sums[row][vector].to(F32)
            if scheme.bits == 4:
                number = number - header.spread(1) * zero
            numbers[row].append(number * (header.spread() * scale))
    return numbers
