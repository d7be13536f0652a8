"""What ``--plan`` says comes true, and what cannot fit is refused with what can."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepseek.errors import InputError
from deepseek.training.config import OptimizerConfig, TrainConfig
from deepseek.training.train import train

Make = Callable[..., TrainConfig]

PROGRAM = "from ds_cli.main import main; main()"
TOLERANCE = 0.15


def command(folder: Path, *arguments: str) -> dict[str, Any]:
    """The command as a process of its own, whose memory is not that of the tests."""
    program = folder / "program.py"
    program.write_text(f"if __name__ == '__main__':\n    {PROGRAM}\n")
    run = subprocess.run(
        [sys.executable, str(program), "train", "--json", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    document: dict[str, Any] = json.loads(run.stdout)
    return document


BERT = (
    "--task=masked_lm --model=bert --tokenizer=bytes --model_options hidden_size=256 "
    "--model_options intermediate_size=1024 --model_options num_hidden_layers=4 "
    "--model_options num_attention_heads=4"
)


@pytest.mark.parametrize(
    "arguments",
    [
        "--batch_size=32",
        pytest.param("--shard_strategy=gradient --pipeline_stages=4", marks=pytest.mark.slow),
        pytest.param("--shard_strategy=gradient", marks=pytest.mark.slow),
        pytest.param("--accumulate=4 --batch_size=64 --ema=0.9", marks=pytest.mark.slow),
        pytest.param("--precision=bf16 --batch_size=32", marks=pytest.mark.slow),
        pytest.param(BERT, marks=pytest.mark.slow),
        pytest.param(
            "--model_options hidden_size=512 --model_options intermediate_size=2048 --batch_size=8",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_memory_is_within_15_percent_of_the_measured_peak(tmp_path: Path, arguments: str) -> None:
    planned = command(tmp_path, "--plan", *arguments.split())
    assert not (tmp_path / "runs").exists()
    steps = "--steps=6 --checkpoint_every=3 --eval_every=0"
    measured = command(tmp_path, *steps.split(), *arguments.split())
    ratio = planned["memory"]["total"] / measured["peak"]
    assert 1 - TOLERANCE < ratio < 1 + TOLERANCE, f"{ratio:.3f}"


def test_a_plan_adds_up(tiny: Make, tmp_path: Path) -> None:
    plan = train(tiny(plan=True))
    assert plan["schema"] == "deepseek.train-plan/1"
    parts = {**plan["memory"]}
    total = parts.pop("total")
    assert sum(parts.values()) == total
    count = plan["parameters"]
    assert parts["weights"] >= parts["gradients"] == 4 * count
    assert parts["optimizer"] == 8 * count
    assert plan["wire"] == plan["bubble"] == 0
    assert plan["fits"]
    assert not (tmp_path / "run").exists()


def test_a_plan_knows_what_shards_and_stages_save(tiny: Make) -> None:
    whole = train(tiny(plan=True))["memory"]
    momentum = train(tiny(plan=True, optimizer=OptimizerConfig(name="sgd")))["memory"]
    assert momentum["optimizer"] == whole["optimizer"] / 2
    owners = train(tiny(plan=True, nproc=4, shard_strategy="optimizer"))["memory"]
    assert owners["optimizer"] == pytest.approx(whole["optimizer"] / 4, rel=0.01)
    assert owners["gradients"] == whole["gradients"]
    shards = train(tiny(plan=True, nproc=4, shard_strategy="full"))["memory"]
    assert shards["gradients"] == pytest.approx(whole["gradients"] / 4, rel=0.01)
    assert (
        train(tiny(plan=True, gradient_checkpointing=True))["memory"]["activations"]
        < (whole["activations"])
    )
    stages = train(tiny(plan=True, pipeline_stages=4))
    assert stages["memory"]["optimizer"] < whole["optimizer"] / 2
    assert stages["bubble"] == pytest.approx(3 / 7)
    assert stages["wire"] == 2 * 4 * (2 * 16 * 16 * 4)  # micro-batches of 2 records, both ways


def test_what_cannot_fit_is_refused_with_the_nearest_that_does(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = tiny(plan=True, batch_size=56, model_options=("n_embd=64",))
    plan = train(big)
    enough = plan["memory"]["total"] - plan["memory"]["activations"] // 2

    def little() -> SimpleNamespace:
        return SimpleNamespace(available=enough - resident)

    from deepseek.training.plan import plan as module

    resident = 0
    monkeypatch.setattr(module, "resident_bytes", lambda: 0)
    monkeypatch.setattr(module, "_program_bytes", lambda: plan["memory"]["program"])
    monkeypatch.setattr(module.psutil, "virtual_memory", little)
    with pytest.raises(InputError, match="expected a run that fits into") as refused:
        train(big)
    assert refused.value.hint == "it fits with --accumulate 2"
    train(tiny(plan=True, batch_size=56, model_options=("n_embd=64",), accumulate=2))
    assert not (tmp_path / "run").exists()
