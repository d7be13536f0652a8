"""A folder with a folder of images for each class, as inputs of a vision model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepseek.data.labels import classes_of
from deepseek.data.packing.item import Item, Source
from deepseek.data.packing.pixels import pixels_of
from deepseek.data.sample import Record
from deepseek.errors import InputError
from deepseek.formats.model import LoadedModel

__all__ = ["ImageEncoder", "image_encoder"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageEncoder:
    """From image files to ``pixel_values``: cropped to a square, scaled, normalized.

    Attributes:
        size: Pixels of a side.
        channels: 3 for colour, 1 for grey.
        mean: Of each channel.
        std: Of each channel.
        label2id: Classes by the names of folders.
        classes: How many the model tells; 0 where it tells none.
    """

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    label2id: dict[str, int]
    classes: int

    def __call__(self, items: Sequence[Item]) -> tuple[dict[str, Tensor], Tensor | None]:
        """The pixels of some items, ``[records, channels, size, size]``, and their classes."""
        mode = "gray" if self.channels == 1 else "rgb"
        pixels = np.stack([pixels_of(item.values["image"], mode, self.size) for item in items])  # type: ignore[arg-type]
        mean, std = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (self.mean, self.std))
        values = (torch.from_numpy(pixels).float() / 255 - mean) / std
        return {"pixel_values": values}, self._labels(items)

    def _labels(self, items: Sequence[Item]) -> Tensor | None:
        if not self.classes:
            return None
        records = [Record("", item.values["label"], item.origin) for item in items]
        return torch.tensor(classes_of(records, self.label2id, self.classes))


def image_encoder(loaded: LoadedModel, beside: Path, source: Source) -> tuple[ImageEncoder, str]:
    """How a model takes images, by the ``preprocessor_config.json`` beside its weights.

    Returns:
        The encoder, and a note of what had to be assumed; empty where nothing had.

    Raises:
        InputError: The model takes no images.
    """
    settings: Any = loaded.config
    folder = beside if beside.is_dir() else beside.parent
    given = _json(folder / "preprocessor_config.json")
    side = _side(given.get("size")) or _side(getattr(settings, "image_size", None))
    if side is None:
        raise InputError(
            f"expected a model that takes images, found {loaded.architecture}",
            hint="--calib_data names texts for a model of texts",
        )
    channels = int(getattr(settings, "num_channels", 3))
    mean, std = given.get("image_mean"), given.get("image_std")
    note = "" if mean and std else "no preprocessor_config.json: pixels are brought to -1 … 1"
    labelled = loaded.architecture.endswith("ForImageClassification")
    names = {str(name): int(number) for name, number in (settings.label2id or {}).items()}
    count = int(settings.num_labels) if labelled else 0
    known = {name.casefold() for name in names}
    if count == len(source.classes) and not any(n.casefold() in known for n in source.classes):
        names = {name: number for number, name in enumerate(source.classes)}
        note = "; ".join(filter(None, [note, "classes: the folders in the order of their names"]))
    encoder = ImageEncoder(
        size=side, channels=channels, label2id=names, classes=count,
        mean=tuple(mean or [0.5] * channels), std=tuple(std or [0.5] * channels),
    )  # fmt: skip
    return encoder, note


def _side(size: Any) -> int | None:
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    return int(size) if isinstance(size, int | float) and size >= 1 else None


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected JSON, found {error}") from error
    return document if isinstance(document, dict) else {}
