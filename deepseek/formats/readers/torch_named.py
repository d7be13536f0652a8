"""What both formats of torch.save share: named tensors, some of them shared."""

from collections.abc import Callable, Hashable
from pathlib import Path

import torch

from deepseek.formats.checkpoint import Checkpoint, TensorInfo
from deepseek.formats.state_dict import StateDict

__all__ = ["named_checkpoint"]


def named_checkpoint(
    path: Path,
    found: StateDict,
    *,
    place: Callable[[torch.Tensor], Hashable],
    read: Callable[[torch.Tensor], torch.Tensor],
) -> Checkpoint:
    """A checkpoint of the tensors found in a file of torch.save.

    Args:
        path: The file.
        found: What the file holds.
        place: Tells storages apart.
        read: Gives the data of a tensor.
    """
    tensors = found.tensors
    return Checkpoint(
        source=path,
        format="torch",
        infos={
            name: TensorInfo(shape=tuple(tensor.shape), dtype=tensor.dtype)
            for name, tensor in tensors.items()
        },
        read=lambda name: read(tensors[name]),
        shared=_shared(tensors, place),
        files=(path,),
        notes=tuple(_notes(found)),
    )


def _shared(
    tensors: dict[str, torch.Tensor], place: Callable[[torch.Tensor], Hashable]
) -> dict[str, str]:
    """Names of tensors that are the same memory seen the same way, and the first such name."""
    holders: dict[Hashable, str] = {}
    shared: dict[str, str] = {}
    for name, tensor in tensors.items():
        view = (place(tensor), tensor.storage_offset(), tensor.dtype, tensor.shape, tensor.stride())
        holder = holders.setdefault(view, name) if tensor.numel() else name
        if holder != name:
            shared[name] = holder
    return shared


def _notes(found: StateDict) -> list[str]:
    notes = []
    if found.place:
        notes.append(f"the weights lie under {found.place}")
    if found.skipped:
        names = ", ".join(found.skipped[:3])
        notes.append(f"{len(found.skipped)} entries that are no tensors were left out: {names}")
    return notes
