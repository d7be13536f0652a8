"""Faster processes take more of each batch, by what each was measured to do.

A batch is a fixed number of equal micro-batches. Every process tells how fast it works, and now
and then the micro-batches are given out anew in proportion. Gradients stay those of the batch: a
process that runs more micro-batches adds up more of them, and every loss has the same weight.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist

from deepseek.distributed.layout import Strategy
from deepseek.distributed.mesh import Mesh
from deepseek.errors import InputError

__all__ = ["Balancer", "apportion"]

_MEMORY = 0.8  # weight of what was known of a speed before each observation


def apportion(total: int, rates: Sequence[float]) -> tuple[int, ...]:
    """Whole shares of ``total`` in proportion to ``rates``, each at least one.

    By largest remainders: each gets its whole part, the rest goes to the largest fractions.

    Raises:
        InputError: There is less than one for each.
    """
    if total < len(rates):
        raise InputError(
            f"expected at least one micro-batch for each of {len(rates)} processes, got {total}"
        )
    exact = [total * rate / sum(rates) for rate in rates]
    shares = [int(part) for part in exact]
    by_fraction = sorted(range(len(rates)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_fraction[: total - sum(shares)]:
        shares[i] += 1
    while 0 in shares:
        shares[shares.index(max(shares))] -= 1
        shares[shares.index(0)] += 1
    return tuple(shares)


class Balancer:
    """Who runs which micro-batches of a batch.

    Multiply the mean loss of each micro-batch by ``loss_scale`` before its backward pass, and let
    ``gradient_sync`` exchange gradients in the last one of each process only: the gradient is then
    that of the mean over all.

    Args:
        total: Micro-batches of a batch, over all processes.
        mesh: Where this process stands.
        strategy: What is sharded: strategies that gather parameters for every pass need the same
            number of passes everywhere.
        every: Observations between two decisions.
        gain: By which part a step must become shorter for shares to change.

    Raises:
        InputError: The strategy or a pipeline does not allow unequal numbers, or there are fewer
            micro-batches than processes.
    """

    def __init__(
        self,
        total: int,
        mesh: Mesh,
        *,
        strategy: Strategy = "none",
        every: int = 20,
        gain: float = 0.05,
    ) -> None:
        if strategy in ("full", "hybrid") or mesh.layout.stages > 1:
            how = strategy if strategy in ("full", "hybrid") else "a pipeline"
            raise InputError(
                f"expected strategy none, optimizer or gradient in one stage to balance, got {how}",
                hint="with these, all processes make the same number of passes",
            )
        self._mesh = mesh
        self._total = total
        self._every = every
        self._gain = gain
        self._rate: float | None = None
        self._observed = 0
        self.shares = apportion(total, [1.0] * mesh.layout.data_size)

    @property
    def own(self) -> range:
        """The micro-batches of this process."""
        start = sum(self.shares[: self._mesh.data_rank])
        return range(start, start + self.shares[self._mesh.data_rank])

    @property
    def loss_scale(self) -> float:
        """What to multiply the mean loss of a micro-batch by."""
        return self._mesh.layout.data_size / self._total

    def observe(self, count: int, seconds: float) -> bool:
        """Tell how long work took; all processes do, once a step.

        Args:
            count: Micro-batches that were run.
            seconds: Their time without exchanges, in which fast processes wait for slow ones.

        Returns:
            Whether shares changed.
        """
        rate = count / seconds
        known = rate if self._rate is None else self._rate
        self._rate = _MEMORY * known + (1 - _MEMORY) * rate
        self._observed += 1
        if self._observed % self._every:
            return False
        return self._decide(self._rate)

    def _decide(self, rate: float) -> bool:
        group = self._mesh.group("replicate") or self._mesh.group("shard")
        if group is None:
            return False
        # On the group's own device: NCCL moves no other memory.
        mine = torch.tensor([rate], dtype=torch.float64, device=self._mesh.device_type)
        every = [torch.empty_like(mine) for _ in self.shares]
        dist.all_gather(every, mine, group=group)
        rates = [tensor.item() for tensor in every]
        better = apportion(self._total, rates)
        if _time(better, rates) > (1 - self._gain) * _time(self.shares, rates):
            return False
        self.shares = better
        return True


def _time(shares: Sequence[int], rates: Sequence[float]) -> float:
    """When the last process is done."""
    return max(share / rate for share, rate in zip(shares, rates, strict=True))
