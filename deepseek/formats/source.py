"""From what a user calls a model to a path: a file, a folder, or a name of the Hugging Face hub."""

import difflib
import re
from pathlib import Path

from deepseek.errors import InputError
from deepseek.formats.hub import fetch

__all__ = ["locate"]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def locate(source: str | Path) -> Path:
    """The path of a model: ``source`` itself, or where its files were fetched to.

    Raises:
        InputError: There is nothing, and no hub that has it; or it is no file and no folder.
    """
    path = Path(source).expanduser()
    if path.is_file() or path.is_dir():
        return path
    if path.exists():
        raise InputError(f"{path}: expected a file or a folder, found something else")
    if _HUB_NAME.fullmatch(str(source)) and not path.parent.is_dir():
        return fetch(str(source))
    raise InputError(f"expected a checkpoint, found nothing at {path}", hint=_near(path))


def _near(path: Path) -> str | None:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    names = [entry.name for entry in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else None
