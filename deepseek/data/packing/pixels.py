"""From image files to pixels."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError

__all__ = ["is_image", "pixels_of"]

Mode = Literal["rgb", "gray"]
_MODES = {"rgb": "RGB", "gray": "L"}


def is_image(value: object) -> bool:
    """Whether a value of a row is an image: a path, or bytes as ``datasets`` stores them."""
    return isinstance(value, Path | bytes) or (isinstance(value, Mapping) and "bytes" in value)


def pixels_of(value: Any, mode: Mode, size: int | None) -> NDArray[np.uint8]:
    """The pixels of an image, uint8 of the shape (channels, height, width).

    Args:
        value: A path, bytes, or a mapping with ``bytes`` or ``path``.
        mode: Which channels.
        size: Crop the middle to a square and scale it to so many pixels.

    Raises:
        InputError: Pillow is not installed, or the image cannot be read.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise InputError(
            "expected Pillow to read images, found none installed",
            hint="pip install 'deepseek-toolkit[images]'",
        ) from error
    try:
        with Image.open(_file(value)) as opened:
            image = opened.convert(_MODES[mode])
            if size is not None:
                image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"expected an image, found {error}") from error
    pixels = np.asarray(image, np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None])


def _file(value: Any) -> Path | io.BytesIO:
    if isinstance(value, Mapping):
        value = value["bytes"] if value["bytes"] is not None else Path(str(value.get("path")))
    return value if isinstance(value, Path) else io.BytesIO(value)
