"""One step of learning: forward and backward over a batch, in parts, on one layout.

An engine leaves the gradient of ``weight`` times the summed loss in the parameters it holds. How
often parts are cut, and who sends what to whom, is its own affair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from deepseek.distributed import gradient_sync
from deepseek.training.loss import hits, logits_of, summed_loss
from deepseek.training.precision import autocast
from deepseek.training.tasks.task import Batch

__all__ = ["DataEngine", "Engine", "Score"]


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over labels that count, as scalars: the loss, and how many were the likeliest class."""

    loss: torch.Tensor
    hits: torch.Tensor


class Engine(Protocol):
    """What the loop needs of a layout."""

    @property
    def modules(self) -> Sequence[nn.Module]:
        """What this process calls: modules as ``shard`` returned them."""

    def step(self, batch: Batch, weight: float) -> torch.Tensor:
        """Add the gradient of ``weight`` times the summed loss.

        Returns:
            The summed loss of our part of the batch.
        """

    def score(self, batch: Batch) -> Score:
        """Judge a batch without learning from it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataEngine:
    """Every process holds the whole model, or shards of it, and sees its own part of a batch.

    Attributes:
        model: What is called.
        parts: In how many parts a batch is cut.
        precision: What matrix products compute in.
        device: Where.
    """

    model: nn.Module
    parts: int
    precision: str
    device: torch.device

    @property
    def modules(self) -> Sequence[nn.Module]:
        """The model, as it is called."""
        return (self.model,)

    def step(self, batch: Batch, weight: float) -> torch.Tensor:
        """Forward and backward, part after part; gradients meet in the last."""
        total = torch.zeros((), device=self.device)
        for number, part in enumerate(batch.cut(self.parts), start=1):
            with gradient_sync(self.model, enabled=number == self.parts):
                loss = self._loss(part)
                (loss * weight).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    @torch.no_grad()
    def score(self, batch: Batch) -> Score:
        """Forward only, in the same parts, so that it needs no more memory than a step."""
        loss = torch.zeros((), device=self.device)
        found = torch.zeros((), dtype=torch.long, device=self.device)
        for part in (part.to(self.device) for part in batch.cut(self.parts)):
            logits = self._logits(part)
            loss += summed_loss(logits, part.labels)
            found += hits(logits, part.labels)
        return Score(loss, found)

    def _loss(self, part: Batch) -> torch.Tensor:
        part = part.to(self.device)
        return summed_loss(self._logits(part), part.labels)

    def _logits(self, part: Batch) -> torch.Tensor:
        with autocast(self.precision, self.device):
            return logits_of(self.model(**part.inputs))
