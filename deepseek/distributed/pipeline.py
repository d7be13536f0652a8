"""Stages that work on different micro-batches at the same time."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import ScheduleInterleaved1F1B

from deepseek.distributed.layout import Schedule, micro_batches
from deepseek.distributed.mesh import Mesh

__all__ = ["PipelineRunner", "owned_stages", "stage_count"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def stage_count(schedule: Schedule, stages: int) -> int:
    """Into how many parts a model is split for so many processes in a row."""
    return stages * (2 if schedule in ("zbv", "dualpipev") else 1)


def owned_stages(mesh: Mesh, schedule: Schedule) -> tuple[int, ...]:
    """The parts that this process runs."""
    if stage_count(schedule, 1) == 2:
        return (mesh.stage, 2 * mesh.layout.stages - 1 - mesh.stage)
    return (mesh.stage,)


class PipelineRunner:
    """Runs a step of training through all stages.

    Args:
        modules: The stages of this process, sharded, in the order of :func:`owned_stages`.
        mesh: Where this process stands.
        loss: From the model's output and targets of a micro-batch, its mean loss.
        schedule: In which order passes run.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        mesh: Mesh,
        loss: Loss,
        *,
        schedule: Schedule = "interleaved",
    ) -> None:
        self._mesh = mesh
        self._group = mesh.group("stage")
        self._loss = loss
        (self._module,) = modules
        self._runs: dict[tuple[object, ...], ScheduleInterleaved1F1B] = {}

    def step(self, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        """Forward and backward through every stage; gradients are left in the parameters.

        Args:
            inputs: Keyword arguments of the model, batch first, the same on all stages.
            targets: What the loss compares with, batch first.

        Returns:
            The mean loss of this column's batch, the same on every stage.
        """
        rows = len(targets)
        key = tuple((name, tensor.shape) for name, tensor in inputs.items())
        if key not in self._runs:
            stage = PipelineStage(
                self._module,
                self._mesh.stage,
                self._mesh.layout.stages,
                targets.device,
                group=self._group,
            )
            self._runs[key] = ScheduleInterleaved1F1B(
                [stage], micro_batches(rows, self._mesh.layout.stages), loss_fn=self._loss
            )
        losses: list[torch.Tensor] = []
        target = targets if self._mesh.is_last_stage else None
        self._runs[key].step(target=target, losses=losses, return_outputs=False, **inputs)
        loss = torch.stack(losses).mean().detach() if losses else torch.zeros(())
        dist.broadcast(loss, group_src=self._mesh.layout.stages - 1, group=self._group)
        return loss
