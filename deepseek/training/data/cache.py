"""The folder of what was packed before: made again where it is missing."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

__all__ = ["cache_folder", "key_of"]


def cache_folder(room: str) -> Path:
    """``$DEEPSEEK_CACHE``, else ``deepseek`` in the XDG cache directory; a folder for each room."""
    chosen = os.environ.get("DEEPSEEK_CACHE")
    if chosen:
        return Path(chosen) / room
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else Path("~/.cache").expanduser()
    return root / "deepseek" / room


def key_of(*values: Any) -> str:
    """A short name for plain JSON values: the same for the same values, and only for them."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:20]
