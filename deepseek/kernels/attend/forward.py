"""Attention without its matrix of scores: block by block, with a running softmax.

A unit of work is a block of queries of one head. Its scores with a block of keys are made, masked,
turned into weights and multiplied with the values, all within the first-level cache::

    for each block of keys that the queries may see:
        scores = queries @ keys.T        + mask, -inf where a key is hidden
        top    = max(top, scores)        sums and totals shrink where it grows
        weights = 2 ** (scores - top)    totals += weights
        sums  += weights @ values
    out = sums / totals,  lse = top + log(totals)

This is the algorithm of FlashAttention (Dao et al., 2022), on one core at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import TYPE_CHECKING

from deepseek.kernels.attend.absorb import LOWEST, emit_absorb
from deepseek.kernels.attend.few import emit_gather_rows, emit_score_rows
from deepseek.kernels.attend.pack import emit_copy
from deepseek.kernels.attend.product import Grid, emit_multiply
from deepseek.kernels.attend.scores import emit_hide, emit_mask, see
from deepseek.kernels.attend.spec import TILE, tile_for
from deepseek.kernels.attend.tiled import emit_tiled
from deepseek.kernels.emit import (
    BF16,
    ELEMENTS,
    I32,
    I64,
    VOID,
    Arguments,
    Module,
    math,
    tiles,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import SimpleNamespace

    from deepseek.kernels.attend.spec import Form
    from deepseek.kernels.emit import Array, Function, Value
    from deepseek.kernels.target import Target

__all__ = ["ARGUMENTS", "blocks_of_keys", "build_forward", "symbol"]

Step = Callable[["Array", "Array"], object]
"""Emits a product: left operand, result."""

Multiply = Callable[..., tuple[Step, Step]]
"""Finds a block of keys and of values; returns how to make scores of it, and how to add values."""

ARGUMENTS = Arguments(
    product="pointer",  # its kernel
    q="pointer", keys="pointer", values="pointer", out="pointer", lse="pointer",
    mask="pointer", starts="pointer", indices="pointer",
    scale="float",  # over ln 2; positive where bf16 is multiplied by tiles
    heads="int", group="int",  # query heads, and how many share a head of keys
    queries="int", key_count="int", depth="int", value_depth="int",
    reach="int",  # query i sees the keys below min(i + reach, key_count)
    query_blocks="int", key_blocks="int",
    q_batch="int", q_head="int", q_row="int",  # strides, in elements
    mask_batch="int", mask_head="int", mask_row="int",
    list_batch="int", list_head="int",  # of `starts`
    out_batch="int", out_head="int", out_row="int",
    k_batch="int", k_head="int", k_row="int",  # read only where keys are not packed
    v_batch="int", v_head="int", v_row="int",
)  # fmt: skip
"""Those from ``mask`` to ``list_head`` are the backward kernel's too."""


def build_forward(target: Target, form: Form) -> Module:
    """The module of one attention kernel: any number of heads, queries and keys."""
    module = Module(symbol("forward", form), target)
    tile_rows = TILE if form.tiled else tile_for(target).rows
    block, depth, value_depth = form.block, form.depth, form.value_depth
    multiply = _multiply(module, form)
    emit_hide(module, form)
    if form.mask is not None:
        emit_mask(module, form)
    absorb = emit_absorb(module, form)

    with module.task(ARGUMENTS) as f:
        a = f.arguments
        queries = f.scratch(block * depth, ELEMENTS[form.operand])
        sums, scores = f.scratch(block * value_depth), f.scratch(block * block)
        weights = f.scratch(block * block, ELEMENTS[form.operand]) if form.tiled else scores
        tops, totals = f.scratch(block), f.scratch(block * f.lanes)
        factor = None if form.tiled else a.scale
        if form.tiled:
            tiles.configure(f, f.index(tiles.STEPS))
        for unit in f.range(f.begin, f.end):
            batch, head, query_block = _place(a, unit)
            first = query_block * block
            count = f.minimum(a.queries - first, block)
            rows = (count + (tile_rows - 1)) & -tile_rows
            q = f.array(a.q, ELEMENTS[form.dtype])
            q = q.at(batch * a.q_batch + head * a.q_head + first * a.q_row)
            emit_copy(f, q, a.q_row, count, a.depth, queries, depth, rows, factor)
            _begin(f, form, rows, sums, tops, totals)

            for key_block in blocks_of_keys(f, form, a, batch, head, query_block, count):
                score, gather = multiply(f, a, batch, head // a.group, key_block, rows, count)
                score(queries, scores)
                see(f, form, a, scores, batch, head, first, count, key_block)
                f.call(
                    absorb, VOID, scores.pointer, weights.pointer, rows, tops.pointer,
                    totals.pointer, sums.pointer, a.scale,
                )  # fmt: skip
                gather(weights, sums)

            out = f.array(a.out, ELEMENTS[form.dtype])
            out = out.at(batch * a.out_batch + head * a.out_head + first * a.out_row)
            lse = f.array(a.lse).at((batch * a.heads + head) * a.queries + first)
            _finish(f, a, form, count, sums, tops, totals, out, lse)
        if form.tiled:
            tiles.release(f)
    return module


def _multiply(module: Module, form: Form) -> Multiply:
    """How the products are made."""
    if form.few:
        return _emit_few(module, form)
    return _emit_tiled(module, form) if form.tiled else _products(form)


def _products(form: Form) -> Multiply:
    """Products with packed keys, and with values that are packed or as they are."""
    block, depth, value_depth = form.block, form.depth, form.value_depth

    def multiply(
        f: Function, a: SimpleNamespace, batch: Value, head: Value, key_block: Value, rows: Value,
        _count: Value,
    ) -> tuple[Step, Step]:  # fmt: skip
        first = key_block * block
        packed = (batch * (a.heads // a.group) + head) * a.key_blocks + key_block
        keys = Grid(f.array(a.keys).at(packed * (block * depth)), block)
        values = f.array(a.values).at(batch * a.v_batch + head * a.v_head + first * a.v_row)
        here = f.minimum(a.key_count - first, block)

        def score(queries: Array, scores: Array) -> None:
            emit_multiply(
                f, a.product, Grid(queries, depth), keys, Grid(scores, block),
                rows=rows, steps=a.depth, columns=block, adds=False,
            )  # fmt: skip

        def gather(weights: Array, sums: Array) -> None:
            emit_multiply(
                f, a.product, Grid(weights, block), Grid(values, a.v_row), Grid(sums, value_depth),
                rows=rows, steps=here, columns=value_depth, adds=True,
            )  # fmt: skip

        return score, gather

    return multiply


def _emit_tiled(module: Module, form: Form) -> Multiply:
    """Products of bf16 with packed keys and values."""
    emit_tiled(module, form)

    def multiply(
        f: Function, a: SimpleNamespace, batch: Value, head: Value, key_block: Value, rows: Value,
        _count: Value,
    ) -> tuple[Step, Step]:  # fmt: skip
        packed = (batch * (a.heads // a.group) + head) * a.key_blocks + key_block

        def step(name: str, operand: Value, width: int) -> Step:
            right = f.array(operand, BF16).at(packed * (form.block * width)).pointer
            return lambda left, into: f.call(name, VOID, left.pointer, right, into.pointer, rows)

        return (
            step("score_tiles", a.keys, form.depth),
            step("gather_tiles", a.values, form.value_depth),
        )

    return multiply


def _emit_few(module: Module, form: Form) -> Multiply:
    """Products with keys and values as they are."""
    element = ELEMENTS[form.dtype]
    emit_score_rows(module, form)
    emit_gather_rows(module, form)

    def multiply(
        f: Function, a: SimpleNamespace, batch: Value, head: Value, key_block: Value, _rows: Value,
        count: Value,
    ) -> tuple[Step, Step]:  # fmt: skip
        first = key_block * form.block
        here = f.minimum(a.key_count - first, form.block)
        keys = f.array(a.keys, element)
        keys = keys.at(batch * a.k_batch + head * a.k_head + first * a.k_row)
        values = f.array(a.values, element)
        values = values.at(batch * a.v_batch + head * a.v_head + first * a.v_row)

        def step(name: str, right: Array, stride: Value, depth: Value) -> Step:
            return lambda left, into: f.call(
                name, VOID, left.pointer, right.pointer, stride, into.pointer, count, here, depth
            )

        return (
            step("score_rows", keys, a.k_row, a.depth),
            step("gather_rows", values, a.v_row, a.value_depth),
        )

    return multiply


def symbol(name: str, form: Form) -> str:
    """A kernel's symbol."""
    parts = [
        "deepseek_attention", name, form.dtype, str(form.depth), str(form.value_depth),
        "few" if form.few else "tiled" if form.tiled else None, "blocks" if form.sparse else None,
        str(form.block), form.mask and f"mask_{form.mask}",
    ]  # fmt: skip
    return "_".join(part for part in parts if part)


def blocks_of_keys(
    f: Function,
    form: Form,
    a: SimpleNamespace,
    batch: Value,
    head: Value,
    query_block: Value,
    count: Value,
) -> Iterator[Value]:
    """Loop over the blocks of keys of which the block of queries sees any."""
    block = form.block
    seen = f.minimum(query_block * block + count - 1 + a.reach, a.key_count)
    if not form.sparse:
        yield from f.range(0, (seen + (block - 1)) // block)
        return
    starts, indices = f.array(a.starts, I32), f.array(a.indices, I32)
    list_ = batch * a.list_batch + head * a.list_head + query_block
    for position in f.range(starts.scalar(list_).to(I64), starts.scalar(list_ + 1).to(I64)):
        key_block = indices.scalar(position).to(I64)
        with f.when(key_block * block < seen):
            yield key_block


def _place(a: SimpleNamespace, unit: Value) -> tuple[Value, Value, Value]:
    """Batch, head and block of queries of a unit; last blocks first, which see the most keys."""
    row = unit // a.query_blocks
    query_block = a.query_blocks - 1 - unit % a.query_blocks
    return row // a.heads, row % a.heads, query_block


def _begin(f: Function, form: Form, rows: Value, sums: Array, tops: Array, totals: Array) -> None:
    for place in range(0, form.block, f.lanes):
        tops.store(f.full(LOWEST), place)
    for row in f.range(0, rows):
        totals.store(f.zeros(), row * f.lanes)
        for place in range(0, form.value_depth, f.lanes):
            sums.at(row * form.value_depth).store(f.zeros(), place)


def _finish(
    f: Function,
    a: SimpleNamespace,
    form: Form,
    count: Value,
    sums: Array,
    tops: Array,
    totals: Array,
    out: Array,
    lse: Array,
) -> None:
    """Divide by the totals; a row that saw no key is zero, and the logarithm of its total -inf."""
    for row in f.range(0, count):
        total = f.reduce("add", totals.load(row * f.lanes))
        totals.store(total, row)  # at or before the register that was just read
        share = f.select(total.equals(0.0), total, 1.0 / total).splat()
        source, target = sums.at(row * form.value_depth), out.at(row * a.out_row)
        for column, mask in f.strips(a.value_depth):
            target.store(source.load(column) * share, column, mask)
    for column, mask in f.strips(count):
        total = math.log(totals.load(column))
        lse.store(f.fma(tops.load(column), log(2), total), column, mask)
