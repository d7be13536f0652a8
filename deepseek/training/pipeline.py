"""One step of learning through a pipeline of stages."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import nn

from deepseek.distributed import Mesh, PipelineRunner, unwrap
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
        stages: What is called: this process's stages.
        mesh: Where this process stands.
        schedule: In which order passes run.
        precision: What matrix products compute in.
        device: Where.
    """

    stages: Sequence[nn.Module]
    mesh: Mesh
    schedule: Schedule
    precision: str
    device: torch.device
    _weight: float = field(default=1.0, init=False)
    _runner: PipelineRunner = field(init=False)

    def __post_init__(self) -> None:
        self._runner = PipelineRunner(
            self.stages, self.mesh, self._loss, schedule=self.schedule, reduction="sum"
        )

    @property
    def called(self) -> Sequence[nn.Module]:
        """Our stages."""
        return self.stages

    @property
    def modules(self) -> Sequence[nn.Module]:
        """The parts of the model in our stages, with the names of the whole."""
        return [unwrap(stage) for stage in self.stages]

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
        self._weight = 1.0
        with autocast(self.precision, self.device):
            loss, logits = self._runner.evaluate(batch.inputs, batch.labels)
        found = torch.zeros((), dtype=torch.long, device=self.device)
        if logits is not None:
            found = hits(logits, batch.labels)
        dist.all_reduce(found, group=self.mesh.group("stage"))
        return Score(loss, found)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return summed_loss(logits, labels) * self._weight
