"""Folders: those of Hugging Face, and any other that holds exactly one checkpoint."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.readers.files import read_file
from deepseek.formats.readers.sharded import read_sharded

__all__ = ["read_folder"]

# As transformers looks for them.
_WEIGHTS = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx")
_NO_WEIGHTS = ("training_args.", "optimizer.", "scheduler.", "scaler.", "rng_state")
_TELLING = {
    "adapter_config.json": "an adapter (PEFT), which is no model by itself: merge it first",
    "tf_model.h5": "TensorFlow weights, which are not read",
    "flax_model.msgpack": "Flax weights, which are not read",
    ".metadata": "a distributed checkpoint of torch: turn it into one file with "
    "torch.distributed.checkpoint.format_utils",
}


def read_folder(folder: Path, allow_globals: tuple[str, ...] = ()) -> Checkpoint:
    """The checkpoint in a folder.

    Raises:
        InputError: There is none, or several and none under the usual names.
    """
    path = _weights(folder)
    if path.name.endswith(".index.json"):
        checkpoint = read_sharded(path, allow_globals)
    else:
        checkpoint = read_file(path, allow_globals)
    return replace(checkpoint, source=folder, format="hf")


def _weights(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    candidates = sorted(_candidates(folder))
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        names = ", ".join(path.name for path in candidates[:5])
        raise InputError(
            f"{folder}: expected one checkpoint, found {len(candidates)}: {names}",
            hint="name the file that is meant",
        )
    for name, what in _TELLING.items():
        if (folder / name).exists():
            raise InputError(f"{folder}: holds {what}")
    raise InputError(f"{folder}: expected a checkpoint, found none", hint=_elsewhere(folder))


def _candidates(folder: Path) -> Iterator[Path]:
    files = [path for path in folder.iterdir() if path.is_file()]
    indexes = [
        path for path in files if path.name.endswith((".safetensors.index.json", ".bin.index.json"))
    ]
    if indexes:
        yield from indexes
        return
    for path in files:
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(_NO_WEIGHTS):
            yield path


def _elsewhere(folder: Path) -> str | None:
    """Where below the folder a checkpoint lies, as it does for each step of a training."""
    inner = (path for path in sorted(folder.iterdir()) if path.is_dir())
    found = [path.name for path in inner if any(_candidates(path))]
    return f"there is one in {folder / found[-1]}" if found else None
