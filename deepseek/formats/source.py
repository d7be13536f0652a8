"""From what a user calls a model to a path: a file, a folder, or a name of the Hugging Face hub."""

import difflib
import re
from pathlib import Path

from deepseek.errors import InputError
from deepseek.formats.hub import fetch

__all__ = ["locate", "named_checkpoint"]

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
    if _is_hub_name(source):
        return fetch(str(source))
    raise InputError(f"expected a checkpoint, found nothing at {path}", hint=_near(path))


def named_checkpoint(text: str | Path) -> Path:
    """What a user has named, refused at once if there is nothing; the hub is asked later.

    Raises:
        InputError: There is nothing, and it is no name of the hub.
    """
    return Path(text) if _is_hub_name(text) else locate(text)


def _is_hub_name(source: str | Path) -> bool:
    parent = Path(source).expanduser().parent
    return _HUB_NAME.fullmatch(str(source)) is not None and not parent.is_dir()


def _near(path: Path) -> str | None:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    names = [entry.name for entry in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else None
