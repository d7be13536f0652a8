"""Open a checkpoint of any format that is read, found out from its content."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.config_file import read_config, read_json
from deepseek.formats.readers.files import read_file
from deepseek.formats.readers.folder import read_folder
from deepseek.formats.readers.sharded import read_sharded
from deepseek.formats.source import locate
from deepseek.formats.unwrap import unwrapped

__all__ = ["open_checkpoint"]


def open_checkpoint(
    source: str | Path, *, allow_globals: Sequence[str] = (), config: Path | None = None
) -> Checkpoint:
    """Open the checkpoint at ``source``; no tensor is read before it is asked for.

    Args:
        source: A file or folder, or the name of a model on the Hugging Face hub.
        allow_globals: Names (``module.name``) that a pickle may mention besides torch's own. What
            they stand for is passed over; nothing is imported.
        config: A ``config.json`` to use instead of the one beside the tensors.

    Raises:
        InputError: There is no checkpoint, or it is damaged, or it cannot be read safely.
    """
    path = locate(source)
    given = read_config(config) if config else None
    allowed = tuple(allow_globals)
    if path.is_dir():
        checkpoint = unwrapped(read_folder(path, allowed), by_trainer=False)
        beside = path / "config.json"
        found = read_config(beside) if given is None and beside.exists() else None
    else:
        by_index = path.name.endswith(".index.json")
        checkpoint = read_sharded(path, allowed) if by_index else read_file(path, allowed)
        by_trainer = checkpoint.format == "torch" and not by_index
        checkpoint = unwrapped(checkpoint, by_trainer=by_trainer)
        found = _beside(path) if given is None else None
    if not checkpoint.infos:
        raise InputError(f"{path}: expected tensors, found none")
    return replace(checkpoint, config=given or checkpoint.config or found)


def _beside(path: Path) -> dict[str, Any] | None:
    """The ``config.json`` beside a file, if it is one of transformers: others use the name too."""
    config = path.parent / "config.json"
    if not config.is_file():
        return None
    found = read_json(config)
    return found if isinstance(found.get("model_type"), str) else None
