"""A running average of the weights, which often generalises better than the last ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from deepseek.distributed import unwrap

__all__ = ["WeightAverage"]


class WeightAverage:
    """The exponential average of all that is a float, in shards where it is sharded.

    Args:
        modules: Those whose weights are averaged, as ``shard`` returned them.
        decay: How much of the average stays in each step; 0 keeps no average.

    Attributes:
        tensors: The average by the names of the whole model.
    """

    def __init__(self, modules: Sequence[nn.Module], decay: float) -> None:
        self._decay = decay
        self._live: dict[str, torch.Tensor] = {}
        if decay > 0.0:
            self._live = {
                name: tensor
                for module in modules
                for name, tensor in unwrap(module).state_dict().items()
                if tensor.is_floating_point()
            }
        self.tensors = {name: tensor.clone() for name, tensor in self._live.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While inside, the modules hold the average instead of the weights of now."""
        now = {name: tensor.clone() for name, tensor in self._live.items()}
        self._set(self.tensors)
        try:
            yield
        finally:
            self._set(now)

    def update(self) -> None:
        """Move the average towards the weights of now."""
        for name, mean in self.tensors.items():
            mean.lerp_(self._live[name], 1.0 - self._decay)

    def _set(self, values: dict[str, torch.Tensor]) -> None:
        for name, live in self._live.items():
            live.copy_(values[name])
