"""Read a ``config.json`` as it may come from anybody."""

import json
from pathlib import Path
from typing import Any

from deepseek.errors import InputError

__all__ = ["read_config"]


def read_config(path: Path) -> dict[str, Any]:
    """The model configuration in ``path``.

    Raises:
        InputError: The file is missing or is not a JSON object.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a JSON configuration, {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(config).__name__}")
    return config
