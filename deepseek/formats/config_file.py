"""JSON files as they may come from anybody: ``config.json``, the index of shards."""

import json
from pathlib import Path
from typing import Any

from deepseek.errors import InputError
from deepseek.formats.damage import reason

__all__ = ["read_config", "read_json"]

_LARGEST = 1 << 28


def read_config(path: Path) -> dict[str, Any]:
    """The model configuration in ``path``, a ``config.json`` or the folder that holds one.

    Raises:
        InputError: The file is missing, is not a JSON object, or names no model type.
    """
    path = path / "config.json" if path.is_dir() else path
    config = read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise InputError(
            f"{path}: expected a model configuration, found no model_type",
            hint="name a config.json of transformers with --model_config",
        )
    return config


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InputError: The file is missing or too large, or holds anything else.
    """
    if not path.is_file():
        raise InputError(f"expected a JSON file, found nothing at {path}")
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: {path.stat().st_size} bytes are too many for a JSON object")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, {reason(error)}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
