"""What a run would need; whether it fits, and if not, what near it would."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil
import torch
from torch import nn

from deepseek.distributed.layout import Layout
from deepseek.distributed.planning import bubble, wire_bytes
from deepseek.errors import InputError
from deepseek.training.config import TrainConfig
from deepseek.training.data.prepared import Prepared
from deepseek.training.layout import Share, layout_of, share_of
from deepseek.training.memory import resident_bytes
from deepseek.training.model import ModelSource, build_model
from deepseek.training.plan.needs import Needs, needs_of
from deepseek.training.quiet import quiet_transformers
from deepseek.training.tasks import TASKS, Batch
from deepseek.units import format_bytes

__all__ = ["Plan", "make_plan"]

_SCHEMA = "deepseek.train-plan/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run would need.

    Attributes:
        layout: Its processes.
        share: What each takes of a batch.
        needs: The memory of the process that needs most.
        wire: Bytes that a process sends in a step.
        bubble: The share of a step in which a stage is idle.
        available: Memory of this machine that is free for all of its processes.
        local: Processes on this machine.
    """

    layout: Layout
    share: Share
    needs: Needs
    wire: int
    bubble: float
    available: int
    local: int

    @property
    def fits(self) -> bool:
        """Whether the processes of this machine have room."""
        return self.needs.memory.total * self.local <= self.available

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "schema": _SCHEMA,
            "parameters": self.needs.parameters,
            "layout": asdict(self.layout),
            "rows": self.share.rows,
            "micro_batches": self.share.parts,
            "memory": {**asdict(self.needs.memory), "total": self.needs.memory.total},
            "wire": self.wire,
            "bubble": self.bubble,
            "local_processes": self.local,
            "available": self.available,
            "fits": self.fits,
        }


def make_plan(config: TrainConfig, source: ModelSource, data: Prepared, world: int) -> Plan:
    """Find out what a run would need.

    Raises:
        InputError: It does not fit into the memory of this machine; the hint names the nearest
            configuration that does.
    """
    with quiet_transformers():
        make_model = _maker(config, source, data)
        program = _program_bytes()
        plan = _plan_of(config, data, make_model, world, program)
        if plan.fits:
            return plan
        nearest = next(
            (
                words
                for words, change in _nearer(config)
                if _fits(change, data, make_model, world, program)
            ),
            None,
        )
    raise InputError(
        f"expected a run that fits into {format_bytes(plan.available)} of free memory, this one "
        f"needs {format_bytes(plan.needs.memory.total)} for each of {plan.local} processes",
        hint=f"it fits with {nearest}" if nearest else "a smaller model, or more machines",
    )


def _plan_of(
    config: TrainConfig,
    data: Prepared,
    make_model: Callable[[], nn.Module],
    world: int,
    program: int,
) -> Plan:
    layout = layout_of(config, world)
    share = share_of(config, layout)
    rows = -(-share.rows // share.parts)
    batch = _sample(config, data, rows)
    needs = needs_of(make_model, batch, config, layout, share, program)
    exchanged = wire_bytes(
        4 * needs.parameters / layout.stages,
        layout,
        config.shard_strategy,
        config.wire,
        micro_batches=share.parts,
        schedule=config.pipeline_schedule,
    )
    handed_on = 2 * needs.crossing * share.parts  # hidden states down, their gradients up
    return Plan(
        layout=layout,
        share=share,
        needs=needs,
        wire=int(exchanged) + handed_on,
        bubble=bubble(config.pipeline_schedule, layout.stages, share.parts)
        if layout.stages > 1
        else 0.0,
        available=psutil.virtual_memory().available + resident_bytes(),
        local=min(world, config.processes),
    )


def _fits(
    config: TrainConfig,
    data: Prepared,
    make_model: Callable[[], nn.Module],
    world: int,
    program: int,
) -> bool:
    try:
        return _plan_of(config, data, make_model, world, program).fits
    except InputError:
        return False


def _nearer(config: TrainConfig) -> Iterator[tuple[str, TrainConfig]]:
    """Configurations that learn the same and need less, the least intrusive first."""
    parts = 2
    while config.pipeline_stages == 1 and parts <= config.batch_size:
        yield f"--accumulate {parts}", replace(config, accumulate=parts)
        parts *= 2
    lean = replace(config, gradient_checkpointing=True)
    yield "--gradient_checkpointing", lean
    if config.pipeline_stages == 1:
        most = config.batch_size
        yield (
            f"--gradient_checkpointing --accumulate {most}",
            replace(lean, accumulate=most),
        )
    half = config.batch_size // 2
    while half >= 1:
        yield f"--batch_size {half}", replace(config, batch_size=half)
        half //= 2


def _sample(config: TrainConfig, data: Prepared, rows: int) -> Batch:
    """One micro-batch of real records, for its shapes."""
    import numpy as np

    records = data.train.open(pad=data.pad, longest=data.longest)
    ids = np.arange(rows) % len(records)
    task = TASKS[config.task](data.vocabulary, config.seed)
    inputs, labels = task.prepare(records.gather(ids), torch.from_numpy(ids))
    return Batch(inputs=inputs, labels=labels, ids=torch.from_numpy(ids))


def _maker(config: TrainConfig, source: ModelSource, data: Prepared) -> Callable[[], nn.Module]:
    from deepseek.training.adapt import adapt

    task = TASKS[config.task](data.vocabulary, config.seed)
    bare = replace(source, weights=None)

    def make() -> nn.Module:
        model = build_model(bare, task.auto_class, data.settings)
        adapt(model, replace(config, compile="none"))
        return model

    return make


def _program_bytes() -> int:
    """What a process holds that has taken a step of a model of next to no size."""
    layer = nn.Linear(64, 64)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    layer(torch.randn(8, 64)).sum().backward()
    optimizer.step()
    return resident_bytes()
