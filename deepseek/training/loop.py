"""The loop: draw, learn, measure, save, until it is done or told to stop."""

import time
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Literal

import torch

from deepseek.distributed import Mesh
from deepseek.errors import InputError
from deepseek.training.average import WeightAverage
from deepseek.training.checkpoint.save import CheckpointWriter
from deepseek.training.checkpoint.tensors import NamedWeights, optimizer_tensors
from deepseek.training.config import TrainConfig
from deepseek.training.data.records import Records
from deepseek.training.data.stream import Stream
from deepseek.training.engine import Engine
from deepseek.training.evaluate import Evaluation, evaluate
from deepseek.training.exchange import Exchange
from deepseek.training.memory import resident_bytes
from deepseek.training.metrics import MetricsFile
from deepseek.training.optimizer import clip_gradients, set_rate
from deepseek.training.rng import seed_step
from deepseek.training.schedule import rate_at
from deepseek.training.signals import StopRequest
from deepseek.training.state import RunState

__all__ = ["Ending", "Rig", "run_loop"]

Ending = Literal["done", "stopped early", "asked to stop"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rig:
    """What the loop works with; every part knows its own layout.

    Attributes:
        engine: Learns from a batch.
        weights: What this process holds of the model.
        optimizer: Moves the weights.
        average: Follows them.
        stream: Gives batches.
        held_out: What is judged on.
        writer: Saves.
        exchange: Adds up over processes.
        metrics: Where rows go.
        stop: Whether somebody asked for an end.
        mesh: Where this process stands.
    """

    engine: Engine
    weights: NamedWeights
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    stream: Stream
    held_out: Records
    writer: CheckpointWriter
    exchange: Exchange
    metrics: MetricsFile
    stop: StopRequest
    mesh: Mesh


def run_loop(rig: Rig, state: RunState, config: TrainConfig) -> Ending:
    """Train until the last step, until it no longer gets better, or until asked to stop.

    The last state is always saved before this returns.

    Raises:
        InputError: The loss is not a number, or the last checkpoint could not be written.
    """
    ending: Ending = "done"
    while state.step < config.steps:
        asked = _step(rig, state, config)
        rig.writer.poll()
        if _due(state.step, config.eval_every) and _no_longer_better(rig, state, config):
            ending = "stopped early"
        if asked:
            ending = "asked to stop"
        if ending != "done":
            break
        if _due(state.step, config.checkpoint_every) and state.step < config.steps:
            _save(rig, state)
    if ending == "done" and not _due(config.steps, config.eval_every):
        _no_longer_better(rig, state, config)
    _save(rig, state)
    if not rig.writer.wait():
        raise InputError(f"the checkpoint of step {state.step} could not be written")
    return ending


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _step(rig: Rig, state: RunState, config: TrainConfig) -> bool:
    """One step; true when some process was asked to stop."""
    began = time.perf_counter()
    seed_step(config.seed, state.step, rig.mesh.rank)
    rate = config.optimizer.lr * rate_at(state.step, steps=config.steps, config=config.schedule)
    set_rate(rig.optimizer, rate)
    batch = rig.stream.draw()
    labels = int(rig.exchange.total(batch.asked.double()))
    loss_sum = rig.engine.step(batch, state.scale.value * rig.stream.parts / max(labels, 1))
    sums = torch.stack([loss_sum.double().cpu(), torch.tensor(float(rig.stop.asked)).double()])
    total, asked = rig.exchange.total(sums).tolist()
    loss = total / max(labels, 1)
    norm = clip_gradients(rig.optimizer, config.optimizer.clip, state.scale.value, rig.mesh)
    if not isfinite(loss):
        raise _not_a_number(rig, state, "loss", batch.ids)
    if state.scale.accepts(norm):
        if not isfinite(norm):
            raise _not_a_number(rig, state, "gradient", batch.ids)
        rig.optimizer.step()
        rig.average.update()
    rig.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    state.place = rig.stream.place
    rig.metrics.write(
        "train",
        state.step,
        loss=loss,
        norm=norm,
        rate=rate,
        labels=labels,
        seconds=time.perf_counter() - began,
        memory=resident_bytes(),
    )
    return bool(asked > 0)


def _not_a_number(rig: Rig, state: RunState, what: str, ids: torch.Tensor) -> InputError:
    rig.writer.wait()
    latest = rig.writer.folder.latest()
    kept = "no checkpoint was written yet" if latest is None else f"{latest.name} is kept"
    return InputError(
        f"the {what} of step {state.step + 1} is not a finite number; "
        f"its records are {', '.join(str(i) for i in ids.tolist())}; {kept}",
        hint="lower --optimizer.lr, or look at these records",
    )


def _no_longer_better(rig: Rig, state: RunState, config: TrainConfig) -> bool:
    found = judge(rig, config)
    better = found.loss < state.best
    state.best = min(state.best, found.loss)
    state.strikes = 0 if better else state.strikes + 1
    rig.metrics.write("eval", state.step, **asdict(found))
    return 0 < config.patience <= state.strikes


def judge(rig: Rig, config: TrainConfig) -> Evaluation:
    """Evaluate the weights of now."""
    return evaluate(
        rig.engine,
        rig.held_out,
        rig.stream.task,
        batch_size=config.batch_size,
        part=rig.stream.part,
        parts=rig.stream.parts,
        exchange=rig.exchange,
    )


def _save(rig: Rig, state: RunState) -> None:
    began = time.perf_counter()
    tensors = {
        **rig.weights.tensors(),
        **optimizer_tensors(rig.weights, rig.optimizer),
        **rig.average.tensors,
    }
    rig.writer.save(state.step, tensors, state.to_json())
    rig.metrics.write("checkpoint", state.step, stalled=time.perf_counter() - began)
