"""Products for a few queries, as in decoding: keys and values are read where they lie, once.

With a handful of queries the time goes into reading the keys and values, so that packing them first
would more than double it. Here a score is a dot product of two rows, made for a register's worth of
keys at once; and the weighted values are summed row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import ELEMENTS, I64, POINTER, transpose

if TYPE_CHECKING:
    from deepseek.kernels.attend.spec import Form
    from deepseek.kernels.emit import Module

__all__ = ["emit_gather_rows", "emit_score_rows"]

_CHAINS = 4  # registers a strip: sums that do not wait for each other


def emit_score_rows(module: Module, form: Form) -> str:
    """``score_rows(queries, keys, stride, scores, rows, keys_here, depth)``."""
    parameters = {
        "queries": POINTER, "keys": POINTER, "stride": I64, "scores": POINTER,
        "rows": I64, "keys_here": I64, "depth": I64,
    }  # fmt: skip
    with module.function("score_rows", parameters) as f:
        p = f.parameters
        keys = f.array(p["keys"], ELEMENTS[form.dtype])
        last = p["keys_here"] - 1
        for row in f.range(0, p["rows"]):
            query = f.array(p["queries"]).at(row * form.depth)
            scores = f.array(p["scores"]).at(row * form.block)
            for first in f.range(0, p["keys_here"], f.lanes):
                # Beyond the end the last key stands in; its scores there are hidden later.
                lines = [
                    keys.at(f.minimum(first + lane, last) * p["stride"]) for lane in range(f.lanes)
                ]
                sums = [f.variable(f.zeros()) for _ in lines]
                for column, mask in f.strips(p["depth"], carry=sums):
                    x = query.load(column)
                    for total, line in zip(sums, lines, strict=True):
                        total.set(f.fma(x, line.load(column, mask), total))
                columns = transpose([total.value for total in sums])
                while len(columns) > 1:
                    half = len(columns) // 2
                    columns = [a + b for a, b in zip(columns[:half], columns[half:], strict=True)]
                scores.store(columns[0], first)
    return "score_rows"


def emit_gather_rows(module: Module, form: Form) -> str:
    """``gather_rows(weights, values, stride, sums, rows, keys_here, depth)``."""
    parameters = {
        "weights": POINTER, "values": POINTER, "stride": I64, "sums": POINTER,
        "rows": I64, "keys_here": I64, "depth": I64,
    }  # fmt: skip
    lanes = _CHAINS * module.target.lanes
    with module.function("gather_rows", parameters) as f:
        p = f.parameters
        values = f.array(p["values"], ELEMENTS[form.dtype])
        for row in f.range(0, p["rows"]):
            weights = f.array(p["weights"]).at(row * form.block)
            sums = f.array(p["sums"]).at(row * form.value_depth)
            for column, mask in f.strips(p["depth"], lanes=lanes):
                total = f.variable(sums.load(column, mask, lanes))
                for key in f.range(0, p["keys_here"], carry=[total]):
                    value = values.at(key * p["stride"]).load(column, mask, lanes)
                    total.set(f.fma(value, weights.spread(key, lanes), total))
                sums.store(total, column, mask)
    return "gather_rows"
