"""Find out what lies at the paths of a user, and open it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from deepseek.data.config import PackConfig
from deepseek.data.packing.item import Source
from deepseek.data.packing.sources.arrays import is_array_file, open_arrays
from deepseek.data.packing.sources.arrow import is_arrow_folder, open_arrow
from deepseek.data.packing.sources.images import is_image_folder, open_images
from deepseek.data.packing.sources.splits import files_of_split
from deepseek.data.packing.sources.tables import open_tables
from deepseek.data.packing.sources.topics import open_topics
from deepseek.data.readers import READERS
from deepseek.errors import InputError

__all__ = ["open_source"]

_TOPICS = "topics"
_NOT_DATA = {"readme", "license", "licence", "notice"}


def open_source(config: PackConfig) -> Source:
    """The rows at the paths of a configuration.

    Raises:
        InputError: Nothing is there, or nothing that can be read, or files of different kinds.
    """
    if config.source == (_TOPICS,) and not Path(_TOPICS).exists():
        return open_topics()
    paths = [Path(name) for name in config.source]
    for path in paths:
        if not path.exists():
            raise InputError(
                f"expected something to pack, found nothing at {path}",
                hint=f"{_TOPICS} is a text that is always there",
            )
    if len(paths) == 1 and paths[0].is_dir():
        return _open_folder(paths[0], config)
    folders = [path for path in paths if path.is_dir()]
    if folders:
        raise InputError(f"expected one folder, or files, got {folders[0]} among others")
    return _open_files(paths, config)


def _open_folder(folder: Path, config: PackConfig) -> Source:
    if is_arrow_folder(folder):
        return open_arrow(folder, config.split)
    if config.split is not None and (folder / config.split).is_dir():
        return _open_folder(folder / config.split, replace(config, split=None))
    if is_image_folder(folder):
        return open_images(folder)
    files = [path for path in sorted(folder.rglob("*")) if _is_data(path.relative_to(folder), path)]
    if not files:
        raise InputError(
            f"expected a file that ends in {', '.join([*READERS, '.npy', '.npz'])} in {folder}, "
            "or a folder of images for each class; found none"
        )
    return _open_files(files_of_split(folder, files, config.split), config)


def _open_files(files: Sequence[Path], config: PackConfig) -> Source:
    endings = _endings(files)
    if all(is_array_file(path) for path in files):
        return open_arrays(files)
    if len(endings) > 1 or not endings <= READERS.keys():
        raise InputError(
            f"expected files of one kind that ends in {', '.join([*READERS, '.npy', '.npz'])}, "
            f"got {', '.join(sorted(endings))}"
        )
    return open_tables(files, config.documents)


def _is_data(relative: Path, path: Path) -> bool:
    hidden = any(part.startswith(".") for part in relative.parts)
    known = path.suffix.lower() in READERS or is_array_file(path)
    known = known and path.stem.lower() not in _NOT_DATA
    return known and not hidden and path.is_file()


def _endings(files: Iterable[Path]) -> set[str]:
    return {path.suffix.lower() or path.name for path in files}
