"""The life of one process of a run: assemble its parts, train, and say how it went."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist

from deepseek.distributed import Mesh, is_leader
from deepseek.training.adapt import adapt, device_of
from deepseek.training.average import WeightAverage
from deepseek.training.build import build_engine, build_optimizer
from deepseek.training.checkpoint.folder import read_state
from deepseek.training.checkpoint.load import restore
from deepseek.training.checkpoint.save import CheckpointWriter
from deepseek.training.checkpoint.tensors import NamedWeights, shared_names
from deepseek.training.config import TrainConfig
from deepseek.training.data.prepared import Prepared
from deepseek.training.data.stream import Stream
from deepseek.training.exchange import Exchange
from deepseek.training.layout import layout_of
from deepseek.training.loop import Ending, Rig, run_loop
from deepseek.training.memory import peak_bytes
from deepseek.training.metrics import MetricsFile
from deepseek.training.model import ModelSource, build_model
from deepseek.training.quiet import quiet_transformers
from deepseek.training.run_folder import RunFolder
from deepseek.training.scale import LossScale
from deepseek.training.signals import heeding
from deepseek.training.state import RunState
from deepseek.training.tasks import TASKS

__all__ = ["Job", "Summary", "work"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What every process is told.

    Attributes:
        config: The configuration of the run.
        run: The folder of the run.
        source: Where the model comes from.
        data: Where the records lie.
    """

    config: TrainConfig
    run: RunFolder
    source: ModelSource
    data: Prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """How a run ended.

    Attributes:
        ending: Why.
        step: Steps taken.
        processes: How many took part.
        peak: The most memory that a process held, in bytes.
    """

    ending: Ending
    step: int
    processes: int
    peak: int


def work(job: Job) -> Summary:
    """Train as one of the processes of the group, or as the only one."""
    with quiet_transformers():
        return _work(job)


def _work(job: Job) -> Summary:
    config = job.config
    world = dist.get_world_size() if dist.is_initialized() else 1
    device = device_of(config, int(os.environ.get("LOCAL_RANK", "0")))
    mesh = Mesh.of(layout_of(config, world), device.type)
    task = TASKS[config.task](job.data.vocabulary, config.seed)
    torch.manual_seed(config.seed)  # every process draws the same weights
    model = build_model(job.source, task.auto_class, job.data.settings)
    aliases = shared_names(model)
    adapt(model, config)
    engine = build_engine(model, config, mesh, device)
    weights = NamedWeights(engine.modules, aliases)
    optimizer = build_optimizer(engine.modules, config, mesh)
    average = WeightAverage(weights, config.ema)
    state = RunState(scale=LossScale.of(config.precision))
    checkpoints = job.run.checkpoints
    if (latest := checkpoints.latest()) is not None:
        restore(latest, weights, optimizer, average.tensors)
        state.take(read_state(latest))
    stream = Stream(
        records=job.data.train.open(pad=job.data.pad, longest=job.data.longest),
        task=task,
        batch_size=config.batch_size,
        seed=config.seed,
        part=mesh.data_rank,
        parts=mesh.layout.data_size,
        place=state.place,
    )
    metrics = job.run.metrics if is_leader() else None
    with MetricsFile(metrics, after=state.step) as rows, heeding() as stop:
        rig = Rig(
            engine=engine,
            weights=weights,
            optimizer=optimizer,
            average=average,
            stream=stream,
            held_out=job.data.held_out.open(pad=job.data.pad, longest=job.data.longest),
            writer=CheckpointWriter(
                checkpoints, config.keep, lambda text: rows.write("note", state.step, text=text)
            ),
            exchange=Exchange(mesh.layout.stages),
            metrics=rows,
            stop=stop,
            mesh=mesh,
        )
        ending = run_loop(rig, state, config)
    return Summary(ending=ending, step=state.step, processes=world, peak=peak_bytes())
