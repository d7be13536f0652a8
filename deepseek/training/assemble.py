"""Put together what a process trains with, as it was when the last checkpoint was written."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

import psutil
import torch
import torch.distributed as dist
from torch import nn

from deepseek.distributed import Mesh
from deepseek.training.adapt import adapt, device_of
from deepseek.training.average import WeightAverage
from deepseek.training.build import build_engine, build_optimizer
from deepseek.training.checkpoint.folder import read_state
from deepseek.training.checkpoint.load import restore
from deepseek.training.checkpoint.save import CheckpointWriter
from deepseek.training.config import TrainConfig
from deepseek.training.data.stream import Stream
from deepseek.training.exchange import Exchange
from deepseek.training.job import Job
from deepseek.training.layout import layout_of
from deepseek.training.metrics import Metrics
from deepseek.training.model import build_model
from deepseek.training.parking import Parking
from deepseek.training.rig import Rig
from deepseek.training.scale import LossScale
from deepseek.training.signals import StopRequest
from deepseek.training.spill import Spill
from deepseek.training.state import RunState
from deepseek.training.tasks import TASKS

__all__ = ["assemble"]

Keeping = Callable[[], AbstractContextManager[None]]


def assemble(job: Job, metrics: Metrics, stop: StopRequest) -> tuple[Rig, RunState]:
    """The parts of this process, and where the run is.

    Args:
        job: The run.
        metrics: Where rows go.
        stop: Whether somebody asked for an end.

    Raises:
        InputError: The model or the batch does not suit the layout, or the last checkpoint is of
            another model.
    """
    config, data = job.config, job.data
    world = dist.get_world_size() if dist.is_initialized() else 1
    device = device_of(config, int(os.environ.get("LOCAL_RANK", "0")))
    mesh = Mesh.of(layout_of(config, world), device.type)
    task = TASKS[config.task](data.vocabulary, config.seed)
    torch.manual_seed(config.seed)  # every process draws the same weights
    model = build_model(job.source, task.auto_class, data.settings)
    adapt(model, config)
    parked: list[Parking] = []

    def park(modules: Sequence[nn.Module]) -> None:
        if config.offload == "parameters":
            parked.append(Parking(modules, job.run.root, _swap(config)))

    engine = build_engine(model, config, mesh, device, job.costs, park)
    optimizer = build_optimizer(engine.modules, config, mesh)
    for parking in parked:
        optimizer.register_step_post_hook(parking.after_step)
    average = WeightAverage(engine.modules, config.ema)
    state = RunState(scale=LossScale.of(config.precision))
    if (latest := job.run.checkpoints.latest()) is not None:
        saved = read_state(latest)
        state.take(saved)
        alike = saved["layout"] == asdict(mesh.layout)
        rank = mesh.rank if alike else None
        restore(latest, engine.modules, optimizer, average, rank=rank)
    rig = Rig(
        engine=engine,
        optimizer=optimizer,
        average=average,
        stream=Stream(
            records=data.train.open(pad=data.pad, longest=data.longest),
            task=task,
            batch_size=config.batch_size,
            seed=config.seed,
            part=mesh.data_rank,
            parts=mesh.layout.data_size,
            place=state.place,
        ),
        held_out=data.held_out.open(pad=data.pad, longest=data.longest),
        writer=CheckpointWriter(
            job.run.checkpoints,
            config.keep,
            lambda text: metrics.write("note", state.step, text=text),
        ),
        exchange=Exchange(mesh.layout.stages, device.type),
        metrics=metrics,
        stop=stop,
        mesh=mesh,
        keeping=_keeping(job),
    )
    return rig, state


def _keeping(job: Job) -> Keeping:
    """Where activations wait: in memory, or this process's share of the swap in a file."""
    if job.config.offload != "activations":
        return nullcontext
    return Spill(job.run.root, _swap(job.config))


def _swap(config: TrainConfig) -> int:
    """Bytes of the swap that are this process's."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return int(config.swap_fraction * psutil.virtual_memory().total / local)
