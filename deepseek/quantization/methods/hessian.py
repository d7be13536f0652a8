"""The second moments of what enters a layer, added up as a stream.

The error of a linear layer on calibration data is quadratic in the error of its weights, with the
Hessian ``2 X X^T``; its scale does not matter here, so it is kept as the mean of ``x x^T``.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from deepseek.quantization.apply import as_linear

__all__ = ["Moments", "within_memory"]

_MOST = 2**27  # numbers held at a time: half a gigabyte


def within_memory(model: nn.Module, names: Sequence[str]) -> Iterator[list[str]]:
    """Layers in parts, in their order, whose moments fit into memory together."""
    part: list[str] = []
    numbers = 0
    for name in names:
        wanted = as_linear(model.get_submodule(name)).in_features ** 2
        if part and numbers + wanted > _MOST:
            yield part
            part, numbers = [], 0
        part.append(name)
        numbers += wanted
    if part:
        yield part


class Moments:
    """Mean of ``x x^T`` and of ``|x|`` over tokens.

    Attributes:
        count: Tokens seen.
        second: ``[features, features]``, fp32.
        size: Mean magnitude of each feature, ``[features]``, fp32.
    """

    def __init__(self, features: int) -> None:
        self.count = 0
        self.second = torch.zeros(features, features)
        self.size = torch.zeros(features)

    def add(self, rows: Tensor) -> None:
        """See more tokens: ``[tokens, features]``, fp32."""
        if not len(rows):
            return
        self.count += len(rows)
        share = len(rows) / self.count
        self.second.mul_(1 - share).addmm_(rows.t(), rows, alpha=1 / self.count)
        self.size.lerp_(rows.abs().mean(0), share)

    def error(self, difference: Tensor) -> float:
        """The mean squared error of outputs, summed over them, by a change of the weights.

        Args:
            difference: ``[out_features, features]``.
        """
        return float((difference @ self.second).mul_(difference).sum())
