"""One step of learning through a pipeline of stages."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from deepseek.distributed import Mesh, PipelineRunner
from deepseek.distributed.layout import Schedule
from deepseek.training.engine import Score
from deepseek.training.loss import summed_loss
from deepseek.training.precision import autocast
from deepseek.training.tasks.task import Batch

__all__ = ["PipelineEngine"]


@dataclass(kw_only=True, slots=True)
class PipelineEngine:
    """A process holds some blocks of the model; a column of processes sees the same batch.

    Attributes:
        stages: What is called: this process's stages.
        modules: The parts of the model in them, with the names of the whole.
        mesh: Where this process stands.
        schedule: In which order passes run.
        parts: Micro-batches.
        precision: What matrix products compute in.
        device: Where.
    """

    stages: Sequence[nn.Module]
    modules: Sequence[nn.Module]
    mesh: Mesh
    schedule: Schedule
    parts: int
    precision: str
    device: torch.device
    _weight: float = field(default=1.0, init=False)
    _runner: PipelineRunner = field(init=False)

    def __post_init__(self) -> None:
        self._runner = PipelineRunner(self.stages, self.mesh, self._loss, schedule=self.schedule)

    def step(self, batch: Batch, weight: float) -> torch.Tensor:
        """Forward and backward through every stage."""
        batch = batch.to(self.device)
        # The runner means over micro-batches; ours are sums, which are to be added up.
        self._weight = weight * self.parts
        with autocast(self.precision, self.device):
            mean = self._runner.step(dict(batch.inputs), batch.labels)
        return mean / weight

    def score(self, batch: Batch) -> Score:
        """Forward only, through every stage."""
        raise NotImplementedError

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return summed_loss(logits, labels) * self._weight
