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
        device: Where the processes exchange.
    """

    copies: int = 1
    device: str = "cpu"

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all different data, the same on every process."""
        if not dist.is_initialized():
            return values
        summed = values.to(self.device)
        dist.all_reduce(summed)
        return (summed / self.copies).cpu()

    def gathered(self, own: list[int]) -> list[int]:
        """The different numbers that all processes have, in order."""
        if not dist.is_initialized():
            return sorted(set(own))
        everybody: list[list[int]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(everybody, own)
        return sorted({number for numbers in everybody for number in numbers})

    def highest(self, value: float) -> float:
        """The highest value of all processes, the same on every one."""
        values = torch.tensor(value, dtype=torch.float64, device=self.device)
        if dist.is_initialized():
            dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return float(values)
