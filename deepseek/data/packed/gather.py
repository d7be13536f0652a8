"""Batches: a view where records lie one after the other, else one copy into new memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepseek.data.packed.column import FixedColumn, RaggedColumn, Rows, as_tensor, joined
from deepseek.data.packed.field import DTYPES
from deepseek.data.packed.ragged import Ragged
from deepseek.data.packed.shard import Shard

__all__ = ["Batch", "gather", "gather_across", "view"]

Batch = dict[str, Tensor | Ragged]


def view(shard: Shard, start: int, stop: int) -> Batch:
    """The records from ``start`` to ``stop`` of a shard, over its mapping."""
    return {column.field.name: column.span(start, stop) for column in shard.columns}


def gather(shard: Shard, rows: NDArray[np.int64]) -> Batch:
    """The records ``rows`` of a shard, copied."""
    return {column.field.name: _gathered(column, rows) for column in shard.columns}


def _gathered(column: FixedColumn | RaggedColumn, rows: NDArray[np.int64]) -> Tensor | Ragged:
    if isinstance(column, FixedColumn):
        return column.gather(rows)
    return joined([column.part(row) for row in rows.tolist()], column.field)


def gather_across(places: Sequence[tuple[Shard, int]]) -> Batch:
    """Records of several shards, copied; each is named by its shard and its row there.

    Args:
        places: At least one.
    """
    shards = {id(shard): shard for shard, _ in places}
    columns = {key: shard.columns for key, shard in shards.items()}
    rows = [(id(shard), row) for shard, row in places]
    first = places[0][0]
    batch: Batch = {}
    for number, column in enumerate(first.columns):
        of_field = {key: of_shard[number] for key, of_shard in columns.items()}
        parts = [of_field[key].part(row) for key, row in rows]
        batch[column.field.name] = _stacked(column, parts)
    return batch


def _stacked(column: FixedColumn | RaggedColumn, parts: Sequence[Rows]) -> Tensor | Ragged:
    field = column.field
    if isinstance(column, RaggedColumn):
        return joined(parts, field)
    stacked: Rows = np.empty((len(parts), *field.shape), DTYPES[field.dtype].numpy)
    for place, part in enumerate(parts):
        stacked[place] = part
    return as_tensor(stacked, field)
