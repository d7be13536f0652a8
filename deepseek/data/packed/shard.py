"""One mapped file of records."""

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, from_numpy

from deepseek.data.packed.column import FixedColumn, RaggedColumn, open_column
from deepseek.data.packed.layout import Header
from deepseek.data.packed.mapping import map_shard

__all__ = ["Record", "Shard", "open_shard"]

Record = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Shard:
    """An open shard.

    Attributes:
        header: What its first page says.
        memory: The mapping; it lives as long as any tensor over it.
        columns: Its fields, in order.
        record: One record by its row in this shard, tensors over the mapping; rows are not checked
            to lie in the shard.
    """

    header: Header
    memory: mmap.mmap
    columns: tuple[FixedColumn | RaggedColumn, ...]
    record: Callable[[int], Record]


def open_shard(path: Path) -> Shard:
    """Map the shard at ``path``; no page but the first is read.

    Raises:
        InputError: It cannot be read or mapped, or is no sound shard.
    """
    header, memory = map_shard(path)
    columns = tuple(open_column(part, header.records, memory, path) for part in header.sections)
    return Shard(header, memory, columns, _record_of(columns))


def _record_of(columns: tuple[FixedColumn | RaggedColumn, ...]) -> Callable[[int], Record]:
    if len(columns) == 1:
        return _lone_field(columns[0])
    getters = [(column.field.name, column.get) for column in columns]
    return lambda row: {name: get(row) for name, get in getters}


def _lone_field(column: FixedColumn | RaggedColumn) -> Callable[[int], Record]:
    """The record of one field, without the loop over fields: 1.2 us in place of 1.5 us."""
    name, get = column.field.name, column.get
    if isinstance(column, FixedColumn) and column.field.shape and column.field.dtype != "bfloat16":
        rows = column.rows
        return lambda row: {name: from_numpy(rows[row])}
    return lambda row: {name: get(row)}
