"""The loop: draw, learn, measure, save, until it is done or told to stop."""

import time
from dataclasses import asdict
from math import isfinite
from typing import Literal

import torch

from deepseek.distributed import training_state
from deepseek.errors import InputError
from deepseek.training.checkpoint.owed import owed_tensors
from deepseek.training.config import TrainConfig
from deepseek.training.evaluate import evaluate
from deepseek.training.memory import resident_bytes
from deepseek.training.optimizer import clip_gradients, set_rate
from deepseek.training.rig import Rig
from deepseek.training.rng import seed_step
from deepseek.training.schedule import rate_at
from deepseek.training.state import RunState
from deepseek.training.tasks import Batch

__all__ = ["Ending", "run_loop", "take_step"]

_NAMED = 16  # records in a message; all of them are in the metrics

Ending = Literal["done", "stopped early", "asked to stop"]


def run_loop(rig: Rig, state: RunState, config: TrainConfig) -> Ending:
    """Train until the last step, until it no longer gets better, or until asked to stop.

    The last state is always saved before this returns.

    Raises:
        InputError: The loss is not a number, or the last checkpoint could not be written.
    """
    ending: Ending = "done"
    while state.step < config.steps:
        asked = take_step(rig, state, config)
        rig.writer.poll()
        if _due(state.step, config.eval_every):
            _judge(rig, state, config)
        if 0 < config.patience <= state.strikes:
            ending = "stopped early"
        if asked:
            ending = "asked to stop"
        if ending != "done":
            break
        if _due(state.step, config.checkpoint_every) and state.step < config.steps:
            _save(rig, state)
    if ending == "done" and not _due(config.steps, config.eval_every):
        _judge(rig, state, config)
    _save(rig, state)
    if not rig.writer.wait():
        raise InputError(f"the checkpoint of step {state.step} could not be written")
    return ending


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def take_step(rig: Rig, state: RunState, config: TrainConfig) -> bool:
    """Draw a batch, learn from it, move the weights; true when some process was asked to stop.

    Raises:
        InputError: The loss or the gradient is not a finite number.
    """
    began = time.perf_counter()
    seed_step(config.seed, state.step, rig.mesh.rank)
    rate = config.optimizer.lr * rate_at(state.step, steps=config.steps, config=config.schedule)
    set_rate(rig.optimizer, rate)
    batch = rig.stream.draw()
    counts = torch.tensor([batch.asked, batch.units], dtype=torch.float64)
    labels, units = rig.exchange.total(counts).long().tolist()
    with rig.keeping():
        loss_sum = rig.engine.step(batch, state.scale.value * rig.stream.parts / max(labels, 1))
    sums = torch.stack([loss_sum.double().cpu(), torch.tensor(float(rig.stop.asked)).double()])
    total, asked = rig.exchange.total(sums).tolist()
    loss = total / max(labels, 1)
    norm = clip_gradients(rig.optimizer, config.optimizer.clip, state.scale.value, rig.mesh)
    if not isfinite(loss):
        raise _not_a_number(rig, state, "loss", batch)
    if state.scale.accepts(norm):
        if not isfinite(norm):
            raise _not_a_number(rig, state, "gradient", batch)
        rig.optimizer.step()
        rig.average.update()
    elif state.scale.exhausted:
        raise _not_a_number(rig, state, "gradient", batch)
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
        unit=rig.stream.task.unit,
        units=units,
        seconds=time.perf_counter() - began,
        memory=resident_bytes(),
    )
    return bool(asked > 0)


def _not_a_number(rig: Rig, state: RunState, what: str, batch: Batch) -> InputError:
    rig.writer.wait()
    ids = rig.stream.records.range.numbers(batch.ids.numpy())
    records = rig.exchange.gathered(ids.tolist())
    rig.metrics.write("note", state.step + 1, text=f"{what} not finite", records=records)
    named = ", ".join(str(number) for number in records[:_NAMED])
    more = f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
    latest = rig.writer.folder.latest()
    kept = "no checkpoint was written yet" if latest is None else f"{latest.name} is kept"
    return InputError(
        f"the {what} of step {state.step + 1} is not a finite number; its records are "
        f"{named}{more}; {kept}",
        hint="lower --optimizer.lr, or look at the records with deepseek data inspect",
    )


def _judge(rig: Rig, state: RunState, config: TrainConfig) -> None:
    """Evaluate what would be exported now; the best so far is saved when it decides the end."""
    with rig.average.in_place():
        found = evaluate(
            rig.engine,
            rig.held_out,
            rig.stream.task,
            batch_size=config.batch_size,
            part=rig.stream.part,
            parts=rig.stream.parts,
            exchange=rig.exchange,
        )
    rig.metrics.write("eval", state.step, **asdict(found))
    if not found.loss < state.best:
        state.strikes += 1
        return
    state.best, state.best_step, state.strikes = found.loss, state.step, 0
    if config.patience > 0:
        _save(rig, state)


def _save(rig: Rig, state: RunState) -> None:
    began = time.perf_counter()
    tensors = {
        **training_state(rig.engine.modules, rig.optimizer),
        "average": rig.average.tensors,
        "owed": owed_tensors(rig.engine.modules, rig.mesh.rank),
    }
    layout = asdict(rig.mesh.layout)
    rig.writer.save(state.step, tensors, {**state.to_json(), "layout": layout})
    rig.metrics.write("checkpoint", state.step, stalled=time.perf_counter() - began)
