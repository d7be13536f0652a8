"""The tensors of a checkpoint as safetensors files: one, or as many as a size limit asks for."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from deepseek.formats.casting import cast, cast_info, pieces
from deepseek.formats.checkpoint import Checkpoint, TensorInfo
from deepseek.formats.writers.job import PlannedFile
from deepseek.formats.writers.safetensors_file import write_safetensors
from deepseek.progress import Progress
from deepseek.units import format_bytes

__all__ = ["index_of", "oversized", "plan_files", "write_files"]

_INDEX = "model.safetensors.index.json"


def plan_files(
    checkpoint: Checkpoint, dtype: torch.dtype | None, *, limit: int | None, name: str
) -> tuple[PlannedFile, ...]:
    """Divide the tensors, in their order, into files of at most ``limit`` bytes.

    A tensor larger than the limit gets a file of its own. Those that share memory are held once.

    Args:
        checkpoint: The tensors.
        dtype: Type the floating-point ones will have; None for their own.
        limit: Largest size of the tensors of a file in bytes; None for one file.
        name: Name of the file when there is one only: ``model.safetensors``; with several, a
            counter goes before the ending.
    """
    shards: list[dict[str, TensorInfo]] = [{}]
    size = 0
    for tensor, info in checkpoint.infos.items():
        if tensor in checkpoint.shared:
            continue
        planned = cast_info(info, dtype)
        if limit is not None and shards[-1] and size + planned.bytes > limit:
            shards.append({})
            size = 0
        shards[-1][tensor] = planned
        size += planned.bytes
    return tuple(
        PlannedFile(
            name=_file_name(name, number, len(shards)),
            tensors=shard,
            bytes=sum(info.bytes for info in shard.values()),
        )
        for number, shard in enumerate(shards, start=1)
    )


def oversized(files: tuple[PlannedFile, ...], limit: int | None) -> tuple[str, ...]:
    """A note for every tensor that is larger than the limit."""
    return tuple(
        f"{name} of {format_bytes(info.bytes)} is larger than the shard size of "
        f"{format_bytes(limit)} and has a file of its own"
        for file in files
        for name, info in file.tensors.items()
        if limit is not None and info.bytes > limit
    )


def write_files(
    folder: Path,
    files: tuple[PlannedFile, ...],
    checkpoint: Checkpoint,
    dtype: torch.dtype | None,
    progress: Progress,
) -> None:
    """Write the planned files into ``folder``, holding no more than a tensor in memory."""
    total, done = sum(len(file.tensors) for file in files), 0

    def read(name: str) -> Iterator[torch.Tensor]:
        nonlocal done
        progress("writing tensors", done, total)
        yield from (cast(piece, dtype) for piece in pieces(checkpoint.read(name)))
        done += 1

    for file in files:
        metadata = _metadata(checkpoint, file.tensors)
        write_safetensors(folder / file.name, file.tensors, read, metadata)
    progress("writing tensors", total, total)


def index_of(files: tuple[PlannedFile, ...]) -> dict[str, bytes]:
    """The index that says which file holds which tensor, by its name; none for a single file."""
    if len(files) == 1:
        return {}
    infos = [info for file in files for info in file.tensors.values()]
    index = {
        "metadata": {
            "total_size": sum(info.bytes for info in infos),
            "total_parameters": sum(info.count for info in infos),
        },
        "weight_map": {name: file.name for file in files for name in file.tensors},
    }
    return {_INDEX: (json.dumps(index, indent=2) + "\n").encode()}


def _file_name(name: str, number: int, count: int) -> str:
    path = Path(name)
    return name if count == 1 else f"{path.stem}-{number:05}-of-{count:05}{path.suffix}"


def _metadata(checkpoint: Checkpoint, tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """What a file carries along; a shared name points to the one held here.

    The ``format`` is what transformers asks for; the pointers are those of safetensors'
    own ``save_model``.
    """
    known = checkpoint.metadata.items() if checkpoint.format in ("safetensors", "hf") else ()
    carried = {key: text for key, text in known if key not in checkpoint.infos}
    shared = {other: kept for other, kept in checkpoint.shared.items() if kept in tensors}
    return {**carried, "format": "pt", **shared}
