"""The small sums that every process needs to know."""

from dataclasses import dataclass

import torch
import torch.distributed as dist

__all__ = ["Exchange"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """Adds up over processes that see different data.

    Attributes:
        copies: How many processes see the same data: the stages of a pipeline.
    """

    copies: int = 1

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all different data, the same on every process."""
        if dist.is_initialized():
            dist.all_reduce(values)
            values /= self.copies
        return values
