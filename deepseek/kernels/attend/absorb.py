"""From scores to weights, with the running maximum and sum of each row.

What is one number a row is computed for a register of rows at once: a row by itself would be a
chain of steps that wait for each other, which on AVX-512 took as long as its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.attend.scores import places
from deepseek.kernels.emit import ELEMENTS, F32, I64, POINTER, fold, math

if TYPE_CHECKING:
    from deepseek.kernels.attend.spec import Form
    from deepseek.kernels.emit import Array, Function, Module, Value

__all__ = ["LOWEST", "emit_absorb"]

LOWEST = -3.0e38
"""Where running maxima begin: finite, so that a row that has seen no key yet subtracts a number
from minus infinity, not minus infinity from itself."""


def emit_absorb(module: Module, form: Form) -> str:
    """``absorb(scores, weights, rows, tops, totals, sums, scale)``: weights are exp2(score - top).

    Where a row's maximum grows, what was summed with the old one shrinks: ``totals``, a register a
    row, and ``sums``, the weighted values. A scale that is still to be applied is positive.
    """
    parameters = {
        "scores": POINTER, "weights": POINTER, "rows": I64, "tops": POINTER, "totals": POINTER,
        "sums": POINTER, "scale": F32,
    }  # fmt: skip
    late = form.tiled and form.mask is None
    with module.function("absorb", parameters) as f:
        p = f.parameters
        scores, tops, totals, sums = (
            f.array(p[name]) for name in ("scores", "tops", "totals", "sums")
        )
        weights = f.array(p["weights"], ELEMENTS[form.operand])
        found, shrinks = f.scratch(f.lanes * f.lanes), f.scratch(f.lanes)
        for register in range(f.lanes):
            found.store(f.full(LOWEST), register * f.lanes)
        for first in f.range(0, p["rows"], f.lanes):
            end = f.minimum(first + f.lanes, p["rows"])
            highest = _emit_highest(f, form, scores, first, end, found)
            if late:
                highest = highest * p["scale"].splat()
            before = tops.load(first)
            now = f.maximum(highest, before)
            tops.store(now, first)
            shrinks.store(math.exp2(before - now, short=True))
            grew = f.select(now > before, f.full(1.0), 0.0)
            with f.when(f.reduce("max", grew) > 0.0):
                for row in f.range(first, end):
                    shrink, line = shrinks.spread(row - first), sums.at(row * form.value_depth)
                    for place in f.range(0, form.value_depth, f.lanes):
                        line.store(line.load(place) * shrink, place)

            for row in f.range(first, end):
                line, into = scores.at(row * form.block), weights.at(row * form.block)
                top = tops.spread(row)
                total = f.variable(totals.load(row * f.lanes) * shrinks.spread(row - first))
                for place in places(f, form, carry=[total]):
                    score = line.load(place)
                    if late:
                        score = score * p["scale"].splat()
                    weight = _weight(form, score - top)
                    into.store(weight, place)
                    total += weight
                totals.store(total, row * f.lanes)
    return "absorb"


def _emit_highest(
    f: Function, form: Form, scores: Array, first: Value, end: Value, found: Array
) -> Value:
    """The highest scores of a register of rows; NaN does not count."""
    for row in f.range(first, end):
        top = f.variable(f.full(LOWEST))
        for place in places(f, form, carry=[top]):
            top.set(f.maximum(scores.at(row * form.block).load(place), top))
        if form.few:
            found.store(f.reduce("max", top), row - first)
        else:
            found.store(top, (row - first) * f.lanes)
    if form.few:
        return found.load()
    return fold([found.load(row * f.lanes) for row in range(f.lanes)], f.maximum)


def _weight(form: Form, distance: Value) -> Value:
    """What is rounded to bf16 need not be exact."""
    return math.exp2_coarse(distance) if form.tiled else math.exp2(distance, short=True)
