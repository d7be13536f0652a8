"""The second moments of what enters a layer, added up as a stream.

The error of a linear layer on calibration data is quadratic in the error of its weights, with the
Hessian ``2 X X^T``; its scale does not matter here, so it is kept as the mean of ``x x^T``.
"""

import torch
from torch import Tensor

__all__ = ["Moments"]


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
