"""Read a checkpoint into a run of any layout."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from deepseek.distributed import restoring
from deepseek.errors import InputError
from deepseek.training.average import WeightAverage
from deepseek.training.checkpoint.owed import restore_owed

__all__ = ["load_tensors", "restore", "saved_sizes"]

Sections = Mapping[str, Mapping[str, torch.Tensor]]


def saved_sizes(place: Path) -> dict[str, torch.Size]:
    """The sizes of the tensors in a checkpoint, by ``section.name``."""
    found = HuggingFaceStorageReader(str(place)).read_metadata().state_dict_metadata
    return {
        name: info.size for name, info in found.items() if isinstance(info, TensorStorageMetadata)
    }


def load_tensors(place: Path, sections: Sections, *, alone: bool = False) -> None:
    """Fill the tensors, which may be shards, from the checkpoint.

    Args:
        place: The checkpoint.
        sections: Tensors by section and name.
        alone: Whether this process loads and the others of its group do not.

    Raises:
        InputError: The checkpoint lacks one, or has it in another size.
    """
    sizes = saved_sizes(place)
    for section, tensors in sections.items():
        for name, tensor in tensors.items():
            size = sizes.get(f"{section}.{name}")
            if size != tensor.shape:
                found = "none" if size is None else f"one of {tuple(size)}"
                raise InputError(
                    f"{place}: expected the tensor {name} of {tuple(tensor.shape)} ({section}), "
                    f"found {found}",
                    hint="resume with the model and optimizer that the run was started with",
                )
    with warnings.catch_warnings():
        # A single process is what we mean.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load(
            {section: dict(tensors) for section, tensors in sections.items() if tensors},
            storage_reader=HuggingFaceStorageReader(str(place)),
            no_dist=alone or not dist.is_initialized(),
        )


def restore(
    place: Path,
    modules: Sequence[nn.Module],
    optimizer: torch.optim.Optimizer,
    average: WeightAverage,
    *,
    rank: int | None = None,
) -> None:
    """Bring weights, optimizer and average back to what they were.

    Args:
        place: The checkpoint.
        modules: What ``shard`` returned.
        optimizer: One that has not stepped yet.
        average: Of the same modules.
        rank: This process, where the layout is the one that saved: then it also gets back what
            its int8 exchanges owed.

    Raises:
        InputError: The checkpoint is of another model.
    """
    owed = {
        name.removeprefix("owed."): torch.empty(size)
        for name, size in saved_sizes(place).items()
        if rank is not None and name.startswith(f"owed.{rank}.")
    }
    with restoring(modules, optimizer) as state:
        load_tensors(place, {**state, "average": average.tensors, "owed": owed})
    if rank is not None:
        restore_owed(modules, rank, owed)
