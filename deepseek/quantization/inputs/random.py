"""Random inputs, where somebody asks for them: they show shapes, and nothing of real data."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.quantization.batches import Batch

__all__ = ["RANDOM", "RandomBatches"]

RANDOM = "random"
_TOKENS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomBatches:
    """The same random inputs on every walk.

    Attributes:
        model: Its configuration tells what it takes.
        records: How many there are.
        size: Records in a batch.
        seed: Other seeds give other inputs.
        max_length: Tokens of a text at most.
    """

    model: nn.Module
    records: int
    size: int
    seed: int
    max_length: int | None

    def __len__(self) -> int:
        return ceil(self.records / self.size)

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.seed)
        for start in range(0, self.records, self.size):
            yield Batch(self._inputs(min(self.size, self.records - start), generator))

    def _inputs(self, records: int, generator: torch.Generator) -> dict[str, Tensor]:
        settings: Any = getattr(self.model, "config", None)
        side = getattr(settings, "image_size", None)
        if side is not None:
            shape = (records, getattr(settings, "num_channels", 3), side, side)
            return {"pixel_values": torch.randn(shape, generator=generator)}
        known = getattr(settings, "vocab_size", None)
        if known is None:
            raise InputError(
                f"expected a model of texts or images to make random inputs for, found "
                f"{type(self.model).__name__}"
            )
        most = getattr(settings, "max_position_embeddings", None) or _TOKENS
        tokens = min(_TOKENS, self.max_length or _TOKENS, most)
        ids = torch.randint(known, (records, tokens), generator=generator)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if getattr(settings, "is_encoder_decoder", False):
            inputs["decoder_input_ids"] = ids
        return inputs
