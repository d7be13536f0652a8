"""Keys and values as the products read them: fp32 blocks of rows, padded with zeros.

A unit of work is a block of rows of one head. It becomes ``[block][padded depth]``, or, for the
operand whose rows are multiplied with queries, its transpose ``[padded depth][block]``.

For tiles it is words of two bf16 numbers: of a key's values side by side,
``[padded depth / 2][block]``, or of two keys, ``[block / 2][padded depth]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import BF16, ELEMENTS, I32, Arguments, Module, transpose

if TYPE_CHECKING:
    from deepseek.kernels.emit import Array, Function, Value
    from deepseek.kernels.target import Target

__all__ = ["ARGUMENTS", "build_pack", "build_pack_pairs", "emit_copy"]

ARGUMENTS = Arguments(
    source="pointer", packed="pointer", heads="int", rows="int", depth="int", blocks="int",
    batch_stride="int", head_stride="int", row_stride="int",
)  # fmt: skip


def build_pack(target: Target, dtype: str, width: int, block: int, transposed: bool) -> Module:
    """The module that packs rows padded to ``width`` in blocks of ``block``."""
    module = Module(f"deepseek_attention_pack_{dtype}_{width}_{block}_{transposed:d}", target)
    with module.task(ARGUMENTS) as f:
        a = f.arguments
        staging = f.scratch(block * width) if transposed else None
        for unit in f.range(f.begin, f.end):
            first = (unit % a.blocks) * block
            head = unit // a.blocks
            offset = (head // a.heads) * a.batch_stride + (head % a.heads) * a.head_stride
            source = f.array(a.source, ELEMENTS[dtype]).at(offset + first * a.row_stride)
            count = f.minimum(a.rows - first, block)
            packed = f.array(a.packed).at(unit * (block * width))
            into = packed if staging is None else staging
            emit_copy(f, source, a.row_stride, count, a.depth, into, width, f.index(block))
            if staging is not None:
                _emit_transpose(f, staging, packed, width, block)
    return module


def build_pack_pairs(target: Target, width: int, block: int, of_keys: bool) -> Module:
    """The module that packs rows of bf16 as words, of pairs of keys or of a key's values."""
    module = Module(f"deepseek_attention_pack_pairs_{width}_{block}_{of_keys:d}", target)
    with module.task(ARGUMENTS) as f:
        a = f.arguments
        staging = f.scratch(block * width, BF16)
        for unit in f.range(f.begin, f.end):
            first = (unit % a.blocks) * block
            head = unit // a.blocks
            offset = (head // a.heads) * a.batch_stride + (head % a.heads) * a.head_stride
            source = f.array(a.source, BF16).at(offset + first * a.row_stride)
            count = f.minimum(a.rows - first, block)
            emit_copy(f, source, a.row_stride, count, a.depth, staging, width, f.index(block))
            packed = f.array(a.packed, I32).at(unit * (block * width // 2))
            if of_keys:
                _emit_pairs(f, staging, packed, width, block)
            else:
                words = f.array(staging.pointer, I32)
                _emit_transpose(f, words, packed, width // 2, block)
    return module


def emit_copy(
    f: Function,
    source: Array,
    stride: Value,
    count: Value,
    depth: Value,
    into: Array,
    width: int,
    rows: Value,
    factor: Value | None = None,
) -> None:
    """Copy ``count`` rows of ``depth`` values to rows of ``width``; zeros up to ``rows`` rows.

    Args:
        f: Where to.
        source: First row.
        stride: Elements from one row to the next.
        count: Rows that there are.
        depth: Values a row, at most ``width`` and more than ``width`` less two registers.
        into: Where the rows go.
        width: Values a row there.
        rows: Rows there.
        factor: What every value is multiplied with.
    """
    for row in f.range(0, count):
        line, target = source.at(row * stride), into.at(row * width)
        target.store(f.zeros(), width - f.lanes)
        for column, mask in f.strips(depth):
            value = line.load(column, mask)
            target.store(value if factor is None else value * factor.splat(), column)
    for row in f.range(count, rows):
        for place in range(0, width, f.lanes):
            into.at(row * width).store(f.zeros(), place)


def _emit_pairs(f: Function, source: Array, into: Array, width: int, block: int) -> None:
    """Join each two rows to one of words, the first of them in the lower halves."""
    for pair in f.range(0, block // 2):
        for column in f.range(0, width, f.lanes):
            low, high = (
                f.reinterpret(source.at((pair * 2 + row) * width).load(column), I32)
                for row in range(2)
            )
            into.at(pair * width).store(f.shift_right(low, 16) | high, column)


def _emit_transpose(f: Function, source: Array, into: Array, width: int, block: int) -> None:
    """Turn ``[block][width]`` into ``[width][block]``, a square of registers at a time."""
    for row in f.range(0, block, f.lanes):
        for column in f.range(0, width, f.lanes):
            square = source.at(row * width).at(column)
            lines = transpose([square.load(line * width) for line in range(f.lanes)])
            turned = into.at(column * block).at(row)
            for line, value in enumerate(lines):
                turned.store(value, line * block)
