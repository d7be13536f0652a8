"""What happens to a block of scores between the two products of attention.

Scores are in units of log 2, so that ``exp2`` gives the softmax's weights: queries were multiplied
by ``scale / ln 2`` as they were copied. Where tiles multiply bf16, the scores still have to be:
with the mask, if there is one, or else as they become weights.
"""

from __future__ import annotations

from math import e, inf, log2
from typing import TYPE_CHECKING

from deepseek.kernels.emit import ELEMENTS, F32, I32, I64, POINTER, VOID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import SimpleNamespace

    from deepseek.kernels.attend.spec import Form
    from deepseek.kernels.emit import Array, Function, Module, Value, Variable

__all__ = ["LOG2E", "emit_hide", "emit_mask", "places", "see"]

LOG2E = log2(e)

_REGISTERS_A_TURN = 4  # enough to keep the units for exp2 busy; more only takes longer to compile


def emit_mask(module: Module, form: Form) -> str:
    """``mask(scores, mask, stride, rows, columns, scale)``: add it, or drop what is False in it."""
    parameters = {
        "scores": POINTER, "mask": POINTER, "stride": I64, "rows": I64, "columns": I64,
        "scale": F32,
    }  # fmt: skip
    with module.function("mask", parameters) as f:
        p = f.parameters
        scores = f.array(p["scores"])
        mask = f.array(p["mask"], ELEMENTS[form.mask or "bool"])
        for row in f.range(0, p["rows"]):
            line, entries = scores.at(row * form.block), mask.at(row * p["stride"])
            for column, inside in f.strips(p["columns"]):
                entry, score = entries.load(column, inside), line.load(column)
                if form.tiled:
                    score = score * p["scale"].splat()
                if form.mask == "bool":
                    line.store(f.select(entry.differs(0), score, -inf), column)
                else:
                    line.store(f.fma(entry, LOG2E, score), column)
    return "mask"


def emit_hide(module: Module, form: Form) -> str:
    """``hide(scores, rows, first, most)``: row i keeps its first ``min(first + i, most)`` keys."""
    parameters = {"scores": POINTER, "rows": I64, "first": I64, "most": I64}
    with module.function("hide", parameters) as f:
        p = f.parameters
        scores = f.array(p["scores"])
        most = f.minimum(p["most"], form.block)
        numbers = f.counting(f.lanes)
        for row in f.range(0, p["rows"]):
            seen = f.maximum(f.minimum(p["first"] + row, most), 0).to(I32)
            line = scores.at(row * form.block)
            for column in f.range(0, form.block, f.lanes):
                kept = numbers < (seen - column.to(I32)).splat()
                line.store(f.select(kept, line.load(column), -inf), column)
    return "hide"


def places(f: Function, form: Form, carry: Sequence[Variable] = ()) -> Iterator[Value]:
    """Loop over the registers of a row of scores, a few in each turn."""
    registers = min(_REGISTERS_A_TURN, form.block // f.lanes)
    for first in f.range(0, form.block, registers * f.lanes, carry):
        for register in range(registers):
            yield first + register * f.lanes


def see(
    f: Function,
    form: Form,
    a: SimpleNamespace,
    scores: Array,
    batch: Value,
    head: Value,
    first: Value,
    count: Value,
    key_block: Value,
) -> None:
    """Mask the scores of ``count`` queries from ``first`` on with a block of keys.

    Keys are hidden only where one may have to be: at the end of the keys and on the diagonal.
    """
    key = key_block * form.block
    if form.mask is not None:
        offset = batch * a.mask_batch + head * a.mask_head + first * a.mask_row + key
        entries = f.array(a.mask, ELEMENTS[form.mask]).at(offset)
        columns = f.minimum(a.key_count - key, form.block)
        f.call(
            "mask", VOID, scores.pointer, entries.pointer, a.mask_row, count, columns, a.scale
        )  # fmt: skip
    seen_by_first = f.minimum(first + a.reach, a.key_count)
    with f.when(key + form.block > seen_by_first):
        f.call("hide", VOID, scores.pointer, count, first + a.reach - key, a.key_count - key)
