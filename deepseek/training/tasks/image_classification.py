"""Tell the class of a picture."""

from collections.abc import Mapping

import torch

from deepseek.training.tasks.task import Task, Vocabulary

__all__ = ["image_classification"]

# B pictures, K channels, Y rows, X columns

_MIDDLE = 0.5


def image_classification(_vocabulary: Vocabulary | None, _seed: int) -> Task:
    """The task of vision models. Bytes become numbers between -1 and 1."""
    return Task(
        name="image_classification",
        auto_class="AutoModelForImageClassification",
        unit="images",
        prepare=_prepare,
    )


def _prepare(
    fields: Mapping[str, torch.Tensor], _places: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    pixels = fields["image"]
    if pixels.dim() == 3:
        pixels = pixels.unsqueeze(1)
    scaled = (pixels.float() / 255.0 - _MIDDLE) / _MIDDLE if pixels.dtype == torch.uint8 else pixels
    return {"pixel_values": scaled}, fields["label"].long().flatten()
