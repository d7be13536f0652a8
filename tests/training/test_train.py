"""Whole runs, in this process."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deepseek.errors import InputError
from deepseek.formats.model import load_model
from deepseek.training.config import OptimizerConfig, TrainConfig
from deepseek.training.metrics import read_metrics
from deepseek.training.train import train

Make = Callable[..., TrainConfig]
Losses = Callable[[Path], list[float]]


def test_a_run_learns_and_leaves_what_other_commands_take(
    tiny: Make, tmp_path: Path, losses: Losses
) -> None:
    report = train(tiny(steps=30, eval_every=10))
    run = tmp_path / "run"
    curve = losses(run)
    assert curve[-1] < curve[0] - 0.5
    assert report["last_loss"] == curve[-1]
    assert report["held_out"]["loss"] < curve[0]
    assert json.loads((run / "report.json").read_text()) == report
    loaded = load_model(run / "model")
    assert loaded.architecture == "GPT2LMHeadModel"
    assert all(torch.isfinite(p).all() for p in loaded.model.parameters())


def test_the_same_run_twice_gives_the_same_losses(
    tiny: Make, tmp_path: Path, losses: Losses
) -> None:
    train(tiny(output=tmp_path / "a"))
    train(tiny(output=tmp_path / "b"))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    train(tiny(output=tmp_path / "c", seed=1))
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulation_changes_nothing_but_memory(
    tiny: Make, tmp_path: Path, losses: Losses, parts: int
) -> None:
    train(tiny(output=tmp_path / "whole"))
    train(tiny(output=tmp_path / "parts", accumulate=parts))
    pairs = zip(losses(tmp_path / "whole"), losses(tmp_path / "parts"), strict=True)
    assert max(abs(a - b) for a, b in pairs) < 1e-6


def test_an_existing_run_is_refused_resumed_or_replaced(
    tiny: Make, tmp_path: Path, losses: Losses
) -> None:
    train(tiny(steps=2))
    with pytest.raises(InputError, match="exists already") as refused:
        train(tiny(steps=2))
    assert "--resume" in str(refused.value.hint)
    assert len(losses(tmp_path / "run")) == 2
    train(tiny(steps=4, resume=True))
    assert len(losses(tmp_path / "run")) == 4
    train(tiny(steps=3, overwrite=True))
    assert len(losses(tmp_path / "run")) == 3


def test_a_folder_that_is_no_run_is_never_replaced(tiny: Make, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not the folder of a run"):
        train(tiny(overwrite=True))
    assert (tmp_path / "run" / "thesis.tex").read_text() == "years of work"


def test_resuming_from_nothing_is_refused(tiny: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        train(tiny(resume=True))
    assert not (tmp_path / "run").exists()


def test_early_stopping_exports_the_best(tiny: Make, tmp_path: Path, losses: Losses) -> None:
    settings = OptimizerConfig(lr=0.3)  # so high that it gets worse after a while
    config = tiny(steps=60, eval_every=1, patience=4, keep=1, optimizer=settings)
    report = train(config)
    rows = [
        row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "eval"
    ]
    best = min(rows, key=lambda row: row["loss"])
    assert report["ending"] == "stopped early"
    assert report["step"] == best["step"] + 4 < 60
    assert report["best_step"] == best["step"]
    again = train(tiny(output=tmp_path / "again", model=str(tmp_path / "run" / "model"), steps=1,
                       optimizer=OptimizerConfig(lr=1e-9)))  # fmt: skip
    assert again["held_out"]["loss"] == pytest.approx(best["loss"], abs=1e-4)


def test_the_average_is_judged_and_exported(tiny: Make, tmp_path: Path) -> None:
    report = train(tiny(steps=10, ema=0.8))
    again = train(tiny(output=tmp_path / "again", model=str(tmp_path / "run" / "model"), steps=1,
                       optimizer=OptimizerConfig(lr=1e-9)))  # fmt: skip
    assert again["held_out"]["loss"] == pytest.approx(report["held_out"]["loss"], abs=1e-4)
    plain = train(tiny(output=tmp_path / "plain", steps=10))
    assert plain["last_loss"] == report["last_loss"]
    assert plain["held_out"]["loss"] != report["held_out"]["loss"]


def test_tensorboard_shows_each_step_once_after_a_resume(tiny: Make, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tiny(steps=4, tensorboard=True))
    train(tiny(steps=6, tensorboard=True, resume=True))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("train/loss")]
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    wanted = [(row["step"], row["loss"]) for row in rows if row["kind"] == "train"]
    assert shown == [(step, pytest.approx(loss)) for step, loss in wanted]
    assert len(shown) == 6


def test_tensorboard_without_its_package_is_refused(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepseek.training import boards

    monkeypatch.setattr(boards, "find_spec", lambda _name: None)
    with pytest.raises(InputError, match="the package tensorboard") as refused:
        train(tiny(tensorboard=True))
    assert refused.value.hint == "pip install 'deepseek-toolkit[tensorboard]'"
    assert not (tmp_path / "run").exists()
