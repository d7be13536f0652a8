"""What learns and what moves the weights, for the layout of a process."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from deepseek.distributed import Mesh, optimizer_for, shard
from deepseek.distributed.costs import Costs
from deepseek.training.config import TrainConfig
from deepseek.training.engine import DataEngine, Engine
from deepseek.training.layout import share_of
from deepseek.training.optimizer import optimizer_settings, parameter_groups

__all__ = ["build_engine", "build_optimizer"]

Park = Callable[[Sequence[nn.Module]], None]


def _stay(_: Sequence[nn.Module]) -> None:
    """Weights stay where they are."""


def build_optimizer(
    modules: Sequence[nn.Module], config: TrainConfig, mesh: Mesh
) -> torch.optim.Optimizer:
    """The optimizer of the parameters that this process holds."""
    kind, options = optimizer_settings(config.optimizer)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return optimizer_for(
        parameter_groups(parameters, config.optimizer.weight_decay),
        kind,
        mesh,
        strategy=config.shard_strategy,
        **options,
    )


def build_engine(
    model: nn.Module,
    config: TrainConfig,
    mesh: Mesh,
    device: torch.device,
    costs: Costs | None = None,
    park: Park = _stay,
) -> Engine:
    """What learns, for the layout of the mesh.

    Args:
        model: The whole model.
        config: The run.
        mesh: Where this process stands.
        device: Where it computes.
        costs: What stages are balanced by; their weights if not given.
        park: Told the modules of this process before they are sharded.

    Raises:
        InputError: The batch or the model does not suit the layout.
    """
    share = share_of(config, mesh.layout)
    model.to(device).train()
    if mesh.layout.stages > 1:
        return _build_pipeline(model, config, mesh, device, share.parts, costs, park)
    park([model])
    return DataEngine(
        model=shard(model, mesh, strategy=config.shard_strategy, wire=config.wire),
        parts=share.parts,
        precision=config.precision,
        device=device,
    )


def _build_pipeline(
    model: nn.Module,
    config: TrainConfig,
    mesh: Mesh,
    device: torch.device,
    parts: int,
    costs: Costs | None,
    park: Park,
) -> Engine:
    # torch's pipelines import its compiler, which takes seconds that only they should cost.
    from deepseek.distributed import owned_stages, split, stage_count
    from deepseek.training.pipeline import PipelineEngine

    strategy, wire, schedule = config.shard_strategy, config.wire, config.pipeline_schedule
    count, own = stage_count(schedule, mesh.layout.stages), owned_stages(mesh, schedule)
    stages = split(model, count, costs, keep=own)
    park(stages)
    return PipelineEngine(
        modules=[shard(stage, mesh, strategy=strategy, wire=wire) for stage in stages],
        mesh=mesh,
        schedule=schedule,
        parts=parts,
        precision=config.precision,
        device=device,
    )
