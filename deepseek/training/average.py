"""A running average of the weights, which often generalises better than the last ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from deepseek.training.checkpoint.tensors import NamedWeights

__all__ = ["WeightAverage"]


class WeightAverage:
    """The exponential average of parameters, in shards where they are sharded.

    Args:
        weights: Those that are averaged, buffers excepted.
        decay: How much of the average stays in each step; 0 keeps no average.
    """

    def __init__(self, weights: NamedWeights, decay: float) -> None:
        self._decay = decay
        self._live: dict[str, torch.Tensor] = {}
        if decay > 0.0:
            self._live = {
                name: tensor.detach()
                for name, tensor in weights
                if isinstance(tensor, nn.Parameter)
            }
        self._mean = {name: tensor.clone() for name, tensor in self._live.items()}

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The average under its flat names, sharing memory."""
        return {f"average.{name}": tensor for name, tensor in self._mean.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While inside, the modules hold the average instead of the weights of now."""
        now = [tensor.clone() for tensor in self._live.values()]
        for live, mean in zip(self._live.values(), self._mean.values(), strict=True):
            live.copy_(mean)
        try:
            yield
        finally:
            for live, kept in zip(self._live.values(), now, strict=True):
                live.copy_(kept)

    def update(self) -> None:
        """Move the average towards the weights of now."""
        if self._mean:
            means, live = list(self._mean.values()), list(self._live.values())
            torch._foreach_lerp_(means, live, 1.0 - self._decay)
