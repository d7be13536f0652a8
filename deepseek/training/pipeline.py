"""One step of learning through a pipeline of stages."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from deepseek.distributed import Mesh, PipelineRunner
from deepseek.distributed.layout import Schedule
from deepseek.training.engine import Score
from deepseek.training.loss import hits, summed_loss
from deepseek.training.precision import autocast
from deepseek.training.tasks.task import Batch

__all__ = ["PipelineEngine"]


@dataclass(kw_only=True, slots=True)
class PipelineEngine:
    """A process holds some blocks of the model; a column of processes sees the same batch.

    Attributes:
        modules: What is called: this process's stages.
        mesh: Where this process stands.
        schedule: In which order passes run.
        parts: Micro-batches of a step.
        precision: What matrix products compute in.
        device: Where.
    """

    modules: Sequence[nn.Module]
    mesh: Mesh
    schedule: Schedule
    parts: int
    precision: str
    device: torch.device
    _weight: float = field(default=1.0, init=False)
    _runner: PipelineRunner = field(init=False)

    def __post_init__(self) -> None:
        self._runner = PipelineRunner(
            self.modules,
            self.mesh,
            self._loss,
            schedule=self.schedule,
            reduction="sum",
            micro_batches=self.parts,
        )

    def step(self, batch: Batch, weight: float) -> torch.Tensor:
        """Forward and backward through every stage; each of a column knows the loss."""
        batch = batch.to(self.device)
        self._weight = weight
        with autocast(self.precision, self.device):
            loss = self._runner.step(batch.inputs, batch.labels)
        return loss / weight

    def score(self, batch: Batch) -> Score:
        """Forward only, through every stage; each of a column knows the score."""
        batch = batch.to(self.device)
        with autocast(self.precision, self.device):
            loss, found = self._runner.score(batch.inputs, batch.labels, _measure).unbind()
        return Score(loss, found)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return summed_loss(logits, labels) * self._weight


def _measure(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.stack([summed_loss(logits, labels), hits(logits, labels).float()]).double()
