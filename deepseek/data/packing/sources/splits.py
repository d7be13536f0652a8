"""Which files of a folder belong to which part of the data, by their names."""

import re
from collections.abc import Sequence
from pathlib import Path

from deepseek.errors import InputError

__all__ = ["files_of_split"]

_SPLITS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "t10k": "test", "eval": "test",
}  # fmt: skip


def files_of_split(folder: Path, files: Sequence[Path], split: str | None) -> list[Path]:
    """The files that are named for a split; all of them where none is.

    Args:
        folder: Where the search began; names above it mean nothing.
        files: Files in it.
        split: What the user asked for.

    Raises:
        InputError: Several splits are there and none was asked for, or not the one that was.
    """
    of_file = {path: _split_of(path.relative_to(folder)) for path in files}
    found = sorted({name for name in of_file.values() if name is not None})
    if split is None:
        if len(found) > 1:
            raise InputError(
                f"{folder}: expected files of one split, found {', '.join(found)}",
                hint="--split names the one to pack",
            )
        return list(files)
    wanted = _SPLITS.get(split.lower(), split)
    chosen = [path for path in files if of_file[path] == wanted]
    if not chosen:
        raise InputError(
            f"{folder}: expected files of the split {split}, found {', '.join(found) or 'none'}"
        )
    return chosen


def _split_of(path: Path) -> str | None:
    """The first telling word in the name of the file, or of a folder above it."""
    for part in (path.name, *reversed(path.parts[:-1])):
        for word in re.split(r"[^a-z0-9]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return None
