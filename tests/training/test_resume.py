"""A run that was cut off goes on as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepseek.training.checkpoint.folder import CheckpointFolder
from deepseek.training.config import TrainConfig
from deepseek.training.config_file import config_to_toml
from deepseek.training.metrics import read_metrics
from deepseek.training.train import train

Make = Callable[..., TrainConfig]
Losses = Callable[[Path], list[float]]


def start(config: TrainConfig, folder: Path, *flags: str) -> subprocess.Popen[bytes]:
    """The command as a process of its own."""
    file = folder / "start.toml"
    file.write_text(config_to_toml(config))
    program = "from ds_cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, "train", "--config", str(file), *flags],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_step(run: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not any(row["step"] >= step for row in read_metrics(run / "metrics.jsonl")):
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)


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


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(4))
def test_kill_9_at_any_moment_costs_only_the_steps_since(
    tiny: Make, tmp_path: Path, losses: Losses, attempt: int
) -> None:
    config = tiny(output=tmp_path / "killed", steps=400, checkpoint_every=7)
    train(tiny(output=tmp_path / "whole", steps=400))
    chance = random.Random(attempt)
    process = start(config, tmp_path)
    for _ in range(2):
        done = len(read_metrics(tmp_path / "killed" / "metrics.jsonl"))
        wait_for_step(tmp_path / "killed", done + chance.randrange(8, 100), process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process = start(config, tmp_path, "--resume")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error.decode()
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
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
