"""What the processes of these tests run; importable by name."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from tiny import make

from deepseek.distributed import (
    Layout,
    Mesh,
    PipelineRunner,
    Schedule,
    Strategy,
    Wire,
    all_reduce_mean,
    clip_grad_norm,
    optimizer_for,
    owned_stages,
    shard,
    split,
    stage_count,
)


@dataclass(frozen=True)
class Case:
    model: str
    strategy: Strategy = "none"
    stages: int = 1
    schedule: Schedule = "interleaved"
    chunks: int = 1
    wire: Wire = "fp32"


def train(case: Case, max_norm: float = 0.5) -> tuple[list[float], list[float]]:
    """Losses and gradient norms of a few steps, as every rank sees them."""
    world = dist.get_world_size() if dist.is_initialized() else 1
    mesh = Mesh.of(Layout.of(world, case.strategy, case.stages))
    model, batches, loss = make(case.model)
    parts = [model]
    if case.stages > 1:
        count = stage_count(case.schedule, case.stages, case.chunks)
        parts = split(model, count, keep=owned_stages(mesh, case.schedule, case.chunks))
    modules = [shard(part, mesh, strategy=case.strategy, wire=case.wire) for part in parts]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimizer = optimizer_for(parameters, torch.optim.AdamW, mesh, strategy=case.strategy, lr=3e-3)
    if case.stages > 1:
        runner = PipelineRunner(modules, mesh, loss, schedule=case.schedule)
    losses, norms = [], []
    for inputs, targets in batches:
        rows = slice(mesh.data_rank, None, mesh.layout.data_size)
        inputs, targets = {name: x[rows] for name, x in inputs.items()}, targets[rows]
        optimizer.zero_grad()
        if case.stages > 1:
            value = runner.step(inputs, targets)
        else:
            value = loss(modules[0](**inputs), targets)
            value.backward()
        norms.append(clip_grad_norm(parameters, max_norm, mesh).item())
        optimizer.step()
        losses.append(all_reduce_mean(value.detach()).item())
    return losses, norms


def train_all(cases: list[Case]) -> list[tuple[list[float], list[float]]]:
    return [train(case) for case in cases]
