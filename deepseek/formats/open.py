"""Open a checkpoint of any format that is read, found out from its content."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint, TensorInfo
from deepseek.formats.config_file import read_config

__all__ = ["open_checkpoint"]


def open_checkpoint(
    source: str | Path, *, allow_globals: Sequence[str] = (), config: Path | None = None
) -> Checkpoint:
    """Open the checkpoint at ``source``; no tensor is read before it is asked for.

    Args:
        source: A file or folder.
        allow_globals: Names (``module.name``) a pickle may mention besides torch's own.
        config: A ``config.json`` to use instead of the one beside the tensors.

    Raises:
        InputError: There is no checkpoint, or it cannot be read safely.
    """
    del allow_globals  # torch's own are enough for what is read here
    path = Path(source)
    if not path.exists():
        raise InputError(f"expected a checkpoint, found nothing at {path}")
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} holds no checkpoint")
    found = config or (path if path.is_dir() else path.parent) / "config.json"
    read = _tensors(files)
    return Checkpoint(
        source=path,
        format="hf" if path.is_dir() else "safetensors",
        infos={n: TensorInfo(shape=tuple(t.shape), dtype=t.dtype) for n, t in read.items()},
        read=lambda name: read[name],
        config=read_config(found) if found.exists() else None,
        files=tuple(files),
    )


def _tensors(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                tensors |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
            tensors |= state.get("state_dict", state)
    return tensors
