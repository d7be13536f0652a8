"""A folder with a folder of images for each class."""

from collections.abc import Iterator
from pathlib import Path

from deepseek.data.packing.item import Item, Source

__all__ = ["IMAGE_ENDINGS", "is_image_folder", "open_images"]

IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


def is_image_folder(folder: Path) -> bool:
    """Whether there are folders in it, and images in the first that is not empty."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            first = next((file for file in sorted(path.iterdir()) if file.is_file()), None)
            if first is not None:
                return first.suffix.lower() in IMAGE_ENDINGS
    return False


def open_images(folder: Path) -> Source:
    """The images of all classes, each class being the name of its folder; sorted by name."""
    names = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    files = [(name, file) for name in names for file in _images(folder / name)]

    def items() -> Iterator[Item]:
        for name, file in files:
            yield Item({"image": file, "label": name}, str(file))

    return Source(
        name=str(folder),
        items=items,
        files=tuple(file for _, file in files),
        count=len(files),
        classes=tuple(names),
    )


def _images(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_ENDINGS and path.is_file()
    )
