"""The data files of a folder, and what each is for by its name: training, testing, or either."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepseek.data.readers import READERS
from deepseek.errors import InputError

__all__ = ["DataFiles", "find_files"]

_Role = Literal["train", "validation", "test"]

_ROLES: dict[str, _Role] = {
    "train": "train",
    "training": "train",
    "calib": "train",
    "calibration": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
}
_NOT_DATA = {"readme", "license", "licence", "notice"}


@dataclass(frozen=True, slots=True)
class DataFiles:
    """Files by use.

    Attributes:
        calibration: To calibrate on.
        held_out: To measure on.
        either: To be split record by record, where the names do not say.
    """

    calibration: tuple[Path, ...] = ()
    held_out: tuple[Path, ...] = ()
    either: tuple[Path, ...] = ()


def find_files(source: Path) -> DataFiles:
    """The data files at ``source``, a file or a folder with any depth of folders in it.

    A file or folder named like train, test, validation or dev is taken by its name: tests (or,
    where there are none, validation) are held out, the rest is for calibration.

    Raises:
        InputError: There is nothing, or nothing that can be read.
    """
    if not source.exists():
        raise InputError(f"expected a data file or folder, found nothing at {source}")
    if not source.is_dir():
        if source.suffix.lower() not in READERS:
            raise InputError(f"expected a file that ends in {_endings()}, found {source}")
        return DataFiles(either=(source,))
    files = sorted(_data_files(source))
    if not files:
        raise InputError(
            f"expected a file that ends in {_endings()} in {source}, found none",
            hint="the folder named by --calib_data holds the texts to calibrate and measure on",
        )
    return _by_use(source, files)


def _data_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        wanted = path.suffix.lower() in READERS and path.stem.lower() not in _NOT_DATA
        if wanted and not hidden and path.is_file():
            yield path


def _by_use(folder: Path, files: Sequence[Path]) -> DataFiles:
    roles = {path: _role(path.relative_to(folder)) for path in files}
    held_out_role = next((r for r in ("test", "validation") if r in roles.values()), None)
    held_out = tuple(path for path in files if held_out_role and roles[path] == held_out_role)
    rest = tuple(path for path in files if path not in held_out)
    calibration = tuple(path for path in rest if roles[path] != "validation") or rest
    if not held_out or not calibration:
        return DataFiles(either=tuple(files))
    return DataFiles(calibration=calibration, held_out=held_out)


def _role(path: Path) -> _Role | None:
    """The first telling word in the name of the file, or of a folder above it."""
    for part in (path.stem, *reversed(path.parts[:-1])):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _ROLES:
                return _ROLES[word]
    return None


def _endings() -> str:
    return ", ".join(READERS)
