"""The kernel that gathers rows of tables and adds them up, with a layer norm after it if wanted."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from deepseek.kernels.emit import ELEMENTS, I8, I64, Arguments, Module
from deepseek.kernels.rows.norm_kernel import centered
from deepseek.kernels.rows.sweep import walk

if TYPE_CHECKING:
    from deepseek.kernels.emit import Array, Function, Task, Value
    from deepseek.kernels.rows.spec import EmbeddingForm
    from deepseek.kernels.rows.sweep import Place
    from deepseek.kernels.target import Target

__all__ = ["arguments_for", "build_embedding", "checked"]


@cache
def arguments_for(tables: int) -> Arguments:
    """The kernel's arguments: addresses of ids and tables first, then all sizes."""
    pointers = [f"{name}_{t}" for t in range(tables) for name in ("ids", "table")]
    sizes = [f"{name}_{t}" for t in range(tables) for name in ("rows", "outer", "middle", "inner")]
    return Arguments(
        **dict.fromkeys([*pointers, "weight", "bias", "out", "failed"], "pointer"),
        eps="float",
        **dict.fromkeys(["width", "middle", "inner", *sizes], "int"),
    )


def build_embedding(target: Target, form: EmbeddingForm) -> Module:
    """A module whose task ``deepseek_embedding`` makes one row of the result a unit.

    An id outside its table is read as 0, and the byte at ``failed`` is set.
    """
    module = Module("deepseek_embedding", target)
    with module.task(arguments_for(len(form.tables))) as f:
        a = f.arguments
        weight = None if form.weight is None else f.array(a.weight, ELEMENTS[form.weight])
        bias = None if form.bias is None else f.array(a.bias, ELEMENTS[form.bias])
        for place in walk(f, a.middle, a.inner):
            rows = [_row(f, form, table, place) for table in range(len(form.tables))]
            out = f.array(a.out, ELEMENTS[form.out]).at(place.row * a.width)

            def source(column: Value, mask: Value | None, rows: list[Array] = rows) -> Value:
                value = rows[0].load(column, mask)
                for row in rows[1:]:
                    value = value + row.load(column, mask)
                return value

            normalize = centered(f, source, a.width, a.eps) if form.normed else None
            for column, mask in f.strips(a.width):
                y = source(column, mask)
                y = y if normalize is None else normalize(y)
                if weight is not None:
                    y = y * weight.load(column, mask)
                if bias is not None:
                    y = y + bias.load(column, mask)
                out.store(y, column, mask)
    return module


def _row(f: Task, form: EmbeddingForm, table: int, place: Place) -> Array:
    """The row of a table that the id for this place names."""
    a = vars(f.arguments)
    o, m, i = (a[f"{level}_{table}"] for level in ("outer", "middle", "inner"))
    ids = f.array(a[f"ids_{table}"], ELEMENTS[form.ids[table]])
    number = checked(f, ids.scalar(place.offset((o, m, i))), a[f"rows_{table}"], a["failed"])
    return f.array(a[f"table_{table}"], ELEMENTS[form.tables[table]]).at(number * a["width"])


def checked(f: Function, number: Value, rows: Value, failed: Value) -> Value:
    """The row number, or 0 with a note at ``failed`` where the table has no such row."""
    number = number.to(I64)
    outside = (number < 0) | (number >= rows)
    with f.when(outside):
        f.array(failed, I8).store(f.constant(1, I8))
    return f.select(outside, f.like(0, number), number)
