"""File names that come out of a checkpoint: they may only mean files of that checkpoint."""

from pathlib import Path

from deepseek.errors import InputError

__all__ = ["file_inside"]


def file_inside(folder: Path, name: object, *, named_by: Path) -> Path:
    """The file ``name`` of ``folder``, which ``named_by`` refers to.

    A link is followed only as long as it stays in the folder, or in the store of the Hugging Face
    cache that the folder is part of, whose snapshots are made of links.

    Raises:
        InputError: The name leads out of the folder, or to nothing.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{named_by}: expected the name of a file, found {name!r}")
    relative = Path(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        raise InputError(f"{named_by}: refers to {name!r}, which lies outside its folder")
    path = folder / relative
    if not path.is_file():
        raise InputError(f"{named_by}: refers to {name!r}, which does not exist in {folder}")
    if not path.resolve().is_relative_to(_root(folder.resolve())):
        raise InputError(f"{named_by}: refers to {name!r}, a link that leads outside its folder")
    return path


def _root(folder: Path) -> Path:
    """The folder itself, or ``models--org--name`` for its ``snapshots/<revision>``."""
    store = folder.parent.parent
    in_cache = folder.parent.name == "snapshots" and store.name.startswith("models--")
    return store if in_cache else folder
