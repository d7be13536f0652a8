"""Read a checkpoint into a run of any layout."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from deepseek.errors import InputError
from deepseek.training.checkpoint.tensors import (
    NamedWeights,
    by_kind,
    empty_optimizer_state,
    optimizer_tensors,
)

__all__ = ["load_tensors", "restore", "saved_sizes"]


def saved_sizes(place: Path) -> dict[str, torch.Size]:
    """The sizes of the tensors in a checkpoint, by flat name."""
    found = HuggingFaceStorageReader(str(place)).read_metadata().state_dict_metadata
    return {
        name: info.size for name, info in found.items() if isinstance(info, TensorStorageMetadata)
    }


def load_tensors(place: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Fill the tensors, which may be shards, from the checkpoint.

    Raises:
        InputError: The checkpoint lacks one, or has it in another size.
    """
    sizes = saved_sizes(place)
    for name, tensor in tensors.items():
        if sizes.get(name) != tensor.shape:
            found = "none" if name not in sizes else f"one of {tuple(sizes[name])}"
            raise InputError(
                f"{place}: expected the tensor {name} of {tuple(tensor.shape)}, found {found}",
                hint="resume with the model that the run was started with",
            )
    with warnings.catch_warnings():
        # A single process is what we mean.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load(
            by_kind(tensors),
            storage_reader=HuggingFaceStorageReader(str(place)),
            no_dist=not dist.is_initialized(),
        )


def restore(
    place: Path,
    weights: NamedWeights,
    optimizer: torch.optim.Optimizer,
    extra: Mapping[str, torch.Tensor],
    own: str | None = None,
) -> dict[str, torch.Tensor]:
    """Bring weights, optimizer and further tensors back to what they were.

    Args:
        place: The checkpoint.
        weights: What this process holds of the model.
        optimizer: One that has not stepped yet.
        extra: Further tensors by flat name.
        own: The beginning of the names of tensors that are this process's own.

    Returns:
        The tensors whose names begin with ``own``.

    Raises:
        InputError: The checkpoint is of another model.
    """
    sizes = saved_sizes(place)
    empty_optimizer_state(weights, optimizer, sizes)
    found = {
        name: torch.empty(size)
        for name, size in sizes.items()
        if own is not None and name.startswith(own)
    }
    load_tensors(
        place,
        {**weights.tensors(), **optimizer_tensors(weights, optimizer), **extra, **found},
    )
    return found
