"""Whether a folder, or the one it would be created in, can be written, and its free space."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["facts"]

_SAMPLE = b"\0" * 65536


def facts(folder: Path) -> dict[str, Any]:
    """Whether it is there, free and total bytes, and why it cannot be written."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    usage = shutil.disk_usage(nearest)
    return {
        "there": nearest == folder,
        "free": usage.free,
        "total": usage.total,
        "error": _write(nearest),
    }


def _write(folder: Path) -> str | None:
    """Write a file that vanishes by itself; None when that worked, otherwise the reason."""
    if not folder.is_dir():
        return f"{folder} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(_SAMPLE)
            os.fsync(file.fileno())
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return None


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(facts(Path(sys.argv[1]).absolute()))}\n")
