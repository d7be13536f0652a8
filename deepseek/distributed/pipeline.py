"""Stages that work on different micro-batches at the same time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import get_schedule_class

from deepseek.distributed.layout import Schedule
from deepseek.distributed.mesh import Mesh
from deepseek.distributed.reduction import mean_gradients
from deepseek.distributed.schedules import SCHEDULES, check_micro_batches, micro_batches, parts_of
from deepseek.distributed.stages import Stage
from deepseek.distributed.ties import TiedParameters
from deepseek.errors import DeepseekError, InputError

__all__ = ["PipelineRunner", "owned_stages"]

Loss = Callable[[Tensor, Tensor], Tensor]
Reduction = Literal["mean", "sum"]

_SHAPES_KEPT = 8


def owned_stages(
    mesh: Mesh, schedule: Schedule = "interleaved", chunks: int = 1
) -> tuple[int, ...]:
    """The parts of the model that this process runs: what ``split`` is told to keep.

    Args:
        mesh: Where this process stands.
        schedule: The order of passes.
        chunks: Parts of a process, for the looped schedules.
    """
    return parts_of(schedule, mesh.stage, mesh.layout.stages, chunks)


class PipelineRunner:
    """Runs steps of training through all stages of a model.

    All processes of a row of stages are given the same inputs and targets.

    Args:
        modules: The stages that :func:`owned_stages` names, each as ``shard`` returned it.
        mesh: Where this process stands; its layout has at least two stages.
        loss: From the model's output and the targets of a micro-batch, a scalar.
        schedule: The order of passes.
        reduction: What ``loss`` takes over the rows of a micro-batch and ``step`` over the
            micro-batches. With ``"sum"`` the loss itself divides, by the tokens of a batch say.
        micro_batches: How many a step has; by default, what ``micro_batches`` says.
        autocast: The type in which stages compute what autocast computes in lower precision, and
            in which hidden states travel. A context around ``step`` would hold for backward passes
            too, and for all micro-batches at once.

    Raises:
        InputError: The stages are not those of this process in this schedule.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        mesh: Mesh,
        loss: Loss,
        *,
        schedule: Schedule = "interleaved",
        reduction: Reduction = "mean",
        micro_batches: int | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._stages = [module for module in modules if isinstance(module, Stage)]
        group = mesh.group("stage")
        if group is None or len(self._stages) < len(modules) or not modules:
            raise InputError("expected stages made by split, and a layout of at least two stages")
        self._count = self._stages[0].count
        self._width = mesh.layout.stages
        own = tuple(stage.index for stage in self._stages)
        expected = parts_of(schedule, mesh.stage, self._width, self._chunks(schedule))
        if own != expected:
            raise InputError(
                f"expected stages {expected} on this process for schedule {schedule}, got {own}"
            )
        self._mesh = mesh
        self._group = group
        self._loss = loss
        self._schedule: Schedule = schedule
        self._reduction = reduction
        self._micro_batches = micro_batches
        self._owner = {
            part: place
            for place in range(self._width)
            for part in parts_of(schedule, place, self._width, self._chunks(schedule))
        }
        self._ties = TiedParameters(self._stages, self._owner.__getitem__, group)
        self._prepared: dict[object, Any] = {}
        for stage in self._stages:
            stage.autocast = autocast
        if SCHEDULES[schedule].splits_backward:
            # The pass for weights looks for the tensors of the forward pass: gathering them anew
            # in between gives wrong gradients (torch 2.13). They stay whole during a step.
            for stage in self._stages:
                if isinstance(stage, FSDPModule):
                    stage.set_reshard_after_forward(False)

    def _chunks(self, schedule: Schedule) -> int:
        return 1 if SCHEDULES[schedule].v_shaped else self._count // self._width

    def step(self, inputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
        """Forward and backward through all stages; leaves the batch's gradients in parameters.

        Gradients are the mean over the processes that see different data.

        Args:
            inputs: Keyword arguments of the model, batch first.
            targets: What the loss compares with, batch first.

        Returns:
            This row's loss, the same on each of its stages.

        Raises:
            InputError: The batch does not divide into micro-batches.
        """
        losses: list[Tensor] = []
        last = self._count - 1 in {stage.index for stage in self._stages}
        run = self._prepare(inputs, targets)
        try:
            run.step(
                target=targets if last else None, losses=losses, return_outputs=False, **inputs
            )
        except RuntimeError as error:
            if isinstance(error.__cause__, DeepseekError):
                raise error.__cause__ from None
            raise
        replicas = self._mesh.group("replicate")
        for stage in self._stages:
            if replicas is not None and not isinstance(stage, FSDPModule):
                mean_gradients(stage.parameters(), replicas)
        self._ties.sum_gradients()
        return self._tell([loss.detach() for loss in losses], targets.device)

    def _prepare(self, inputs: Mapping[str, Tensor], targets: Tensor) -> Any:
        """The schedule for inputs of this shape; it learns the shapes between stages once."""
        shapes = tuple((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items())
        if shapes not in self._prepared:
            kind = SCHEDULES[self._schedule]
            form = len(targets), self._width, self._schedule
            asked = self._micro_batches
            count = micro_batches(*form) if asked is None else check_micro_batches(asked, *form)
            stages = [
                PipelineStage(stage, stage.index, self._count, targets.device, group=self._group)
                for stage in self._stages
            ]
            self._prepared[shapes] = get_schedule_class(kind.torch_name)(
                stages if kind.looped else stages[0],
                count,
                loss_fn=self._loss,
                scale_grads=self._reduction == "mean",
            )
            if len(self._prepared) > _SHAPES_KEPT:  # the oldest: each has its buffers
                del self._prepared[next(iter(self._prepared))]
        return self._prepared[shapes]

    def _tell(self, losses: list[Tensor], device: torch.device) -> Tensor:
        """The whole loss, from the process that has the last stage to all of the row."""
        total = torch.zeros((), device=device)
        if losses:
            each = torch.stack(losses).float()
            total = each.mean() if self._reduction == "mean" else each.sum()
        dist.broadcast(total, group_src=self._owner[self._count - 1], group=self._group)
        return total

    @torch.no_grad()
    def evaluate(
        self, inputs: Mapping[str, Tensor], targets: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Forward only, for a batch of any number of rows.

        Args:
            inputs: Keyword arguments of the model, batch first.
            targets: What the loss compares with, batch first.

        Returns:
            This row's loss, the same on each of its stages, and the model's output, on the
            process of the last stage only.
        """
        outputs = [output for output, _ in self._outputs(inputs, targets)]
        output = torch.cat(outputs) if outputs else None
        losses = [] if output is None else [self._loss(output, targets)]
        return self._tell(losses, targets.device), output

    @torch.no_grad()
    def score(
        self,
        inputs: Mapping[str, Tensor],
        targets: Tensor,
        measure: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Forward only: the sum of a measure over micro-batches of any number of rows.

        Args:
            inputs: Keyword arguments of the model, batch first.
            targets: What is compared with, batch first.
            measure: From an output and its targets, a tensor that may be added up.

        Returns:
            The sum over this row's batch, the same on each of its stages.
        """
        values = [measure(output, part) for output, part in self._outputs(inputs, targets)]
        told: list[Any] = [torch.stack(values).sum(dim=0).cpu() if values else None]
        source = self._owner[self._count - 1]
        dist.broadcast_object_list(told, group_src=source, group=self._group)
        total: Tensor = told[0]
        return total.to(targets.device)

    def _outputs(
        self, inputs: Mapping[str, Tensor], targets: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Outputs and targets of micro-batches, one under way on each stage."""
        pieces = min(self._width, len(targets))
        columns = [tensor.tensor_split(pieces) for tensor in (*inputs.values(), targets)]
        for *values, part in zip(*columns, strict=True):
            output = self._pass(dict(zip(inputs, values, strict=True)))
            if output is not None:
                yield output, part

    def _pass(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """One forward pass; the output where this process has the last stage."""
        hidden: Tensor | None = None
        here = dist.get_rank(self._group)
        for stage in self._stages:
            before, after = stage.index - 1, stage.index + 1
            if before >= 0 and self._owner[before] != here:
                hidden = self._receive(self._owner[before], next(iter(inputs.values())).device)
            hidden = stage(*[hidden] if before >= 0 else [], **inputs)
            if after == self._count:
                return hidden
            if self._owner[after] != here:
                self._send(hidden, self._owner[after])
        return None

    def _send(self, hidden: Tensor, to: int) -> None:
        dist.send_object_list([(hidden.shape, hidden.dtype)], group=self._group, group_dst=to)
        dist.send(hidden.contiguous(), group=self._group, group_dst=to)

    def _receive(self, sender: int, device: torch.device) -> Tensor:
        form: list[Any] = [None]
        dist.recv_object_list(form, group=self._group, group_src=sender)
        shape, dtype = form[0]
        hidden = torch.empty(shape, dtype=dtype, device=device)
        dist.recv(hidden, group=self._group, group_src=sender)
        return hidden
