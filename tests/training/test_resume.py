"""A run that was cut off goes on as if nothing had happened."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from deepseek.training.checkpoint.folder import CheckpointFolder
from deepseek.training.config import TrainConfig
from deepseek.training.metrics import read_metrics
from deepseek.training.train import train

Make = Callable[..., TrainConfig]
Losses = Callable[[Path], list[float]]


@pytest.mark.parametrize(
    "changes",
    [{}, {"precision": "fp16", "ema": 0.9}, {"optimizer": "sgd", "model_options": "dropout"}],
    ids=["adamw", "fp16+ema", "sgd+dropout"],
)
def test_resume_is_exact_in_every_bit(
    tiny: Make, tmp_path: Path, losses: Losses, changes: dict[str, Any]
) -> None:
    from deepseek.training.config import OptimizerConfig

    if "optimizer" in changes:
        changes = {
            "optimizer": OptimizerConfig(name="sgd", lr=0.1),
            "model_options": ("resid_pdrop=0.2",),
        }
    whole = tiny(output=tmp_path / "whole", eval_every=3, **changes)
    train(whole)
    # The schedule knows how long the run is, so the first half must know it as well.
    halves = tiny(output=tmp_path / "halves", checkpoint_every=2, eval_every=3, **changes)
    with pytest.raises(KeyboardInterrupt):
        train_until(4, halves)
    train(tiny(output=tmp_path / "halves", eval_every=3, resume=True, **changes))
    assert losses(tmp_path / "halves") == losses(tmp_path / "whole")
    weights = [
        (tmp_path / name / "model" / "model.safetensors").read_bytes()
        for name in ("whole", "halves")
    ]
    assert weights[0] == weights[1]


def train_until(step: int, config: TrainConfig) -> None:
    """Train, and send this process a polite kill when a step was logged."""
    from deepseek.training import metrics

    write = metrics.Metrics.write

    def watch(self: metrics.Metrics, kind: str, at: int, **values: object) -> None:
        write(self, kind, at, **values)
        if kind == "train" and at == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics.Metrics, "write", watch)
        train(config)


STEPS = 40


def _train_in_child(config: TrainConfig) -> None:
    torch.set_num_threads(1)  # as here: another number of threads adds in another order
    train(config)


def kill_at_random_steps(
    attempt: int, config: TrainConfig, run: Path, begin: Callable[[TrainConfig], BaseProcess]
) -> None:
    """Kill -9 a run three times, at steps or between them as chance will, each time resuming it."""
    chance = random.Random(attempt)
    for _ in range(3):
        done = len(read_metrics(run / "metrics.jsonl"))
        process = begin(config)
        wait_for_row(run, done + chance.randrange(2, 12), process)
        time.sleep(chance.random() * 0.02)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        if CheckpointFolder(run / "checkpoints").latest() is None:
            config = replace(config, overwrite=True, resume=False)
        else:
            config = replace(config, overwrite=False, resume=True)
    train(config)


def wait_for_row(run: Path, count: int, process: BaseProcess) -> None:
    deadline = time.monotonic() + 120
    while len(read_metrics(run / "metrics.jsonl")) < count:
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def begin() -> Callable[[TrainConfig], BaseProcess]:
    """Starts a run as a process that has everything imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["deepseek.training.train", "deepseek.training.assemble"])

    def start(config: TrainConfig) -> BaseProcess:
        process = context.Process(target=_train_in_child, args=(config,))
        process.start()
        return process

    return start


@pytest.mark.parametrize(
    "attempt", [*range(2), *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 40))]
)
def test_kill_9_at_any_moment_costs_only_the_steps_since(
    tiny: Make,
    tmp_path: Path,
    losses: Losses,
    begin: Callable[[TrainConfig], BaseProcess],
    attempt: int,
) -> None:
    dropout = {"model_options": ("resid_pdrop=0.1",), "ema": 0.9, "eval_every": 9}
    train(tiny(output=tmp_path / "whole", steps=STEPS, **dropout))
    config = tiny(output=tmp_path / "killed", steps=STEPS, checkpoint_every=3, **dropout)
    kill_at_random_steps(attempt, config, tmp_path / "killed", begin)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    weights = [
        (tmp_path / name / "model" / "model.safetensors").read_bytes()
        for name in ("whole", "killed")
    ]
    assert weights[0] == weights[1]
    assert list((tmp_path / "killed" / "checkpoints").glob("*.part")) == []


def test_a_torn_checkpoint_is_passed_over(tiny: Make, tmp_path: Path, losses: Losses) -> None:
    train(tiny(checkpoint_every=2))
    folder = CheckpointFolder(tmp_path / "run" / "checkpoints")
    latest = folder.latest()
    assert latest is not None
    assert latest.name == "step-00000006"
    shard = next(latest.glob("*.safetensors"))
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size // 2)
    before = folder.latest()
    assert before is not None
    assert before.name == "step-00000004"
    train(tiny(resume=True))
    assert len(losses(tmp_path / "run")) == 6
