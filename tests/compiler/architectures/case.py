"""A row of the tables of architectures: a tiny model with random weights, and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "VOCABULARY", "Case", "features", "ids", "masked", "pixels", "sound", "translated",
]  # fmt: skip

VOCABULARY = 100
Inputs = dict[str, Any]
Make = Callable[[int, int], Inputs]  # batch, length


@dataclass(frozen=True, slots=True)
class Case:
    """An architecture.

    Attributes:
        model_type: What transformers calls it.
        options: Its configuration, small.
        inputs: Makes the arguments of a call for a batch size and a length.
        head: The ``Auto…`` class that builds it.
        sizes: Batch sizes and lengths to try.
        quick: Whether it is tried in every run of the tests.
    """

    model_type: str
    options: Inputs
    inputs: Make
    head: str = "AutoModel"
    sizes: tuple[tuple[int, int], ...] = ((2, 12), (3, 17))
    quick: bool = False
    after: Callable[[nn.Module, Inputs], Inputs] | None = field(default=None)

    def model(self) -> nn.Module:
        """The model in evaluation mode, the same each time."""
        import transformers

        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(self.model_type, **self.options)
        model: nn.Module = getattr(transformers, self.head).from_config(config)
        return model.eval()

    def call(self, model: nn.Module, batch: int, length: int, seed: int) -> Inputs:
        """Arguments of a call."""
        torch.manual_seed(seed)
        inputs = self.inputs(batch, length)
        return inputs if self.after is None else self.after(model, inputs)


def ids(batch: int, length: int) -> Inputs:
    """Words."""
    return {"input_ids": torch.randint(5, VOCABULARY, (batch, length))}


def masked(batch: int, length: int) -> Inputs:
    """Words, of which one text has fewer."""
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, length - 3 :] = 0
    return {**ids(batch, length), "attention_mask": mask}


def translated(batch: int, length: int) -> Inputs:
    """Words, and the words that were written so far."""
    written = torch.randint(5, VOCABULARY, (batch, length // 2))
    return {**masked(batch, length), "decoder_input_ids": written}


def pixels(size: int = 32) -> Make:
    """Square images, as many as the batch has."""

    def make(batch: int, _length: int) -> Inputs:
        return {"pixel_values": torch.randn(batch, 3, size, size)}

    return make


def sound(batch: int, length: int) -> Inputs:
    """Samples, 100 for each of the length."""
    return {"input_values": torch.randn(batch, 100 * length)}


def features(name: str, width: int, *, swapped: bool = False) -> Make:
    """Frames of so many features."""

    def make(batch: int, length: int) -> Inputs:
        values: Tensor = torch.randn(batch, 4 * length, width)
        return {name: values.transpose(1, 2).contiguous() if swapped else values}

    return make
