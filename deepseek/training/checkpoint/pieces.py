"""Write a process's tensors as several files, one after the other.

Safetensors are put together in memory, twice, before they are written: in one file, that would
need two more copies of weights and optimizer.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

__all__ = ["PIECE", "PieceWriter"]

PIECE = 32 << 20
"""Bytes that a file holds at most, unless a single tensor is larger."""


class PieceWriter(HuggingFaceStorageWriter):
    """Writes shards of every process into ``path``."""

    def __init__(self, path: str) -> None:
        super().__init__(path, save_distributed=True)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write our part of the plan."""
        files = {**(plan.storage_data or {}), "fqn_to_index_mapping": _file_of(plan.items)}
        return super().write_data(replace(plan, storage_data=files), planner)


def _file_of(items: Sequence[WriteItem]) -> dict[str, int]:
    """The number of the file, from 1, for the name of each tensor."""
    number, filled = 1, 0
    files: dict[str, int] = {}
    for item in items:
        size = item.tensor_storage_size() or 0
        if filled and filled + size > PIECE:
            number, filled = number + 1, 0
        filled += size
        files.setdefault(item.index.fqn, number)
    return files
