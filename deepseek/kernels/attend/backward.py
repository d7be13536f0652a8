"""The gradients of attention: its weights made again from the log-sum-exp, block by block.

A unit of work is a head of keys with a share of the blocks of queries that see it. It adds to sums
of its own, so that no two threads write to the same place and the result does not depend on which
thread was first; the shares are added afterwards::

    for each block of queries of the share, for each block of keys that it sees:
        weights  = 2 ** (queries @ keys.T - lse)
        slopes   = weights * (grad @ values.T - delta)     delta = sum(grad * out) - grad of lse
        dv[keys] += weights.T @ grad
        dk[keys] += slopes.T @ queries
        dq       += slopes @ keys

The five products are those of FlashAttention's backward pass (Dao et al., 2022).
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from deepseek.kernels.attend.absorb import LOWEST
from deepseek.kernels.attend.forward import blocks_of_keys, symbol
from deepseek.kernels.attend.pack import emit_copy
from deepseek.kernels.attend.product import Grid, emit_multiply
from deepseek.kernels.attend.scores import LOG2E, emit_hide, emit_mask, places, see
from deepseek.kernels.attend.spec import tile_for
from deepseek.kernels.emit import ELEMENTS, I64, POINTER, VOID, Arguments, Module, math

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import SimpleNamespace

    from deepseek.kernels.attend.spec import Form
    from deepseek.kernels.emit import Array, Function, Operand, Task, Value
    from deepseek.kernels.target import Target

__all__ = ["ARGUMENTS", "build_backward"]

ARGUMENTS = Arguments(
    product="pointer",  # its kernel
    q="pointer", grad="pointer", out="pointer", lse="pointer", grad_lse="pointer",
    key_rows="pointer", key_columns="pointer", value_columns="pointer",
    dq="pointer", dk="pointer", dv="pointer",
    mask="pointer", starts="pointer", indices="pointer",
    scale="float",  # over ln 2
    heads="int", group="int",
    queries="int", key_count="int", depth="int", value_depth="int",
    reach="int",
    query_blocks="int", key_blocks="int",
    q_batch="int", q_head="int", q_row="int",
    mask_batch="int", mask_head="int", mask_row="int",
    list_batch="int", list_head="int",
    grad_batch="int", grad_head="int", grad_row="int",
    out_batch="int", out_head="int", out_row="int",
    dq_batch="int", dq_head="int", dq_row="int",
    k_batch="int", k_head="int", k_row="int",  # of `key_rows`
    shares="int",  # of the blocks of queries
)  # fmt: skip


def build_backward(target: Target, form: Form) -> Module:
    """The module of one backward kernel: any number of heads, queries and keys."""
    module = Module(symbol("backward", form), target)
    emit_hide(module, form)
    if form.mask is not None:
        emit_mask(module, form)
    _emit_slopes(module, form)

    with module.task(ARGUMENTS) as f:
        a = f.arguments
        block, depth, value_depth = form.block, form.depth, form.value_depth
        queries, grads = f.scratch(block * depth), f.scratch(block * value_depth)
        weights, slopes = f.scratch(block * block), f.scratch(block * block)
        sums, deltas = f.scratch(block * depth), f.scratch(block)
        kv_heads = a.heads // a.group
        multiply, add = (_product(f, adds=adds) for adds in (False, True))
        for unit in f.range(f.begin, f.end):
            share, kv = unit % a.shares, unit // a.shares
            batch = kv // kv_heads
            totals = (unit * a.key_blocks) * block
            dk, dv = f.array(a.dk).at(totals * depth), f.array(a.dv).at(totals * value_depth)
            for total, width in ((dk, depth), (dv, value_depth)):
                for place in f.range(0, a.key_blocks * (block * width), f.lanes):
                    total.store(f.zeros(), place)
            for member in f.range(0, a.group):
                head = (kv % kv_heads) * a.group + member
                line = (batch * a.heads + head) * a.queries
                mine = (a.query_blocks - share + a.shares - 1) // a.shares
                for turn in f.range(0, mine):
                    query_block = turn * a.shares + share
                    first = query_block * block
                    count = f.minimum(a.queries - first, block)
                    tile_rows = tile_for(target).rows
                    rows = (count + (tile_rows - 1)) & -tile_rows
                    _load(f, a, form, batch, head, first, count, rows, queries, grads)
                    _emit_deltas(f, a, form, batch, head, first, count, grads, deltas)
                    for place in f.range(0, rows * depth, f.lanes):
                        sums.store(f.zeros(), place)
                    lse, delta = f.array(a.lse).at(line + first).pointer, deltas.pointer

                    for key_block in blocks_of_keys(f, form, a, batch, head, query_block, count):
                        here = key_block * block
                        keys = f.minimum(a.key_count - here, block)
                        packed = (kv * a.key_blocks + key_block) * block
                        key_columns, value_columns = (
                            Grid(f.array(operand).at(packed * width), block)
                            for operand, width in (
                                (a.key_columns, depth), (a.value_columns, value_depth))
                        )  # fmt: skip
                        key_rows = f.array(a.key_rows).at(
                            batch * a.k_batch + (kv % kv_heads) * a.k_head + here * a.k_row
                        )
                        q, g = Grid(queries, depth), Grid(grads, value_depth)
                        w, s = Grid(weights, block), Grid(slopes, block)

                        multiply(q, key_columns, w, rows, a.depth, block)
                        see(f, form, a, weights, batch, head, first, count, key_block)
                        multiply(g, value_columns, s, rows, a.value_depth, block)
                        f.call("slopes", VOID, weights.pointer, slopes.pointer, lse, delta, count)
                        add(w.transposed, g, Grid(dv.at(here * value_depth), value_depth), block,
                            count, value_depth)  # fmt: skip
                        add(s.transposed, q, Grid(dk.at(here * depth), depth), block, count, depth)
                        add(s, Grid(key_rows, a.k_row), Grid(sums, depth), rows, keys, depth)

                    dq = f.array(a.dq, ELEMENTS[form.dtype])
                    dq = dq.at(batch * a.dq_batch + head * a.dq_head + first * a.dq_row)
                    _store(f, a, form, count, sums, dq)
    return module


def _product(f: Task, *, adds: bool) -> Callable[..., None]:
    def product(a: Grid, b: Grid, c: Grid, rows: Operand, steps: Operand, columns: int) -> None:
        kernel = f.arguments.product
        emit_multiply(f, kernel, a, b, c, rows=rows, steps=steps, columns=columns, adds=adds)

    return product


def _emit_slopes(module: Module, form: Form) -> None:
    """``slopes(scores, slopes, lse, delta, rows)``: scores become weights, both times ln 2.

    The factor makes up for the one over ln 2 that the queries have.
    """
    names = ("scores", "slopes", "lse", "delta", "rows")
    parameters = {name: I64 if name == "rows" else POINTER for name in names}
    with module.function("slopes", parameters) as f:
        p = f.parameters
        scores, slopes, lse, delta = (f.array(p[name]) for name in names[:4])
        for row in f.range(0, p["rows"]):
            sum_ = lse.spread(row)
            # A row that saw no key has scores of minus infinity; this makes its weights zero.
            none = sum_.equals(float("-inf"))
            top = f.select(none, f.full(-LOWEST), sum_ * LOG2E)
            offset = delta.spread(row)
            for place in places(f, form):
                at = row * form.block + place
                weight = math.exp2(scores.load(at) - top, short=True)
                scores.store(weight, at)
                slopes.store((slopes.load(at) - offset) * (weight * log(2)), at)


def _load(
    f: Function,
    a: SimpleNamespace,
    form: Form,
    batch: Value,
    head: Value,
    first: Value,
    count: Value,
    rows: Value,
    queries: Array,
    grads: Array,
) -> None:
    element = ELEMENTS[form.dtype]
    q = f.array(a.q, element).at(batch * a.q_batch + head * a.q_head + first * a.q_row)
    emit_copy(f, q, a.q_row, count, a.depth, queries, form.depth, rows, a.scale)
    grad = f.array(a.grad, element)
    grad = grad.at(batch * a.grad_batch + head * a.grad_head + first * a.grad_row)
    emit_copy(f, grad, a.grad_row, count, a.value_depth, grads, form.value_depth, rows)


def _emit_deltas(
    f: Function,
    a: SimpleNamespace,
    form: Form,
    batch: Value,
    head: Value,
    first: Value,
    count: Value,
    grads: Array,
    deltas: Array,
) -> None:
    """What is subtracted from all slopes of a row: its ``sum(grad * out)``, less grad of lse."""
    out = f.array(a.out, ELEMENTS[form.dtype])
    out = out.at(batch * a.out_batch + head * a.out_head + first * a.out_row)
    grad_lse = f.array(a.grad_lse).at((batch * a.heads + head) * a.queries + first)
    for row in f.range(0, count):
        grad, line = grads.at(row * form.value_depth), out.at(row * a.out_row)
        total = f.variable(f.zeros())
        for column, mask in f.strips(a.value_depth, carry=[total]):
            total.set(f.fma(grad.load(column), line.load(column, mask), total))
        deltas.store(f.reduce("add", total) - grad_lse.scalar(row), row)


def _store(
    f: Function, a: SimpleNamespace, form: Form, count: Value, sums: Array, dq: Array
) -> None:
    for row in f.range(0, count):
        source, target = sums.at(row * form.depth), dq.at(row * a.dq_row)
        for column, mask in f.strips(a.depth):
            target.store(source.load(column) * a.scale.splat(), column, mask)
