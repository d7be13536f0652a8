"""Every layout learns the same: losses equal those of a single process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepseek.training.config import TrainConfig
from deepseek.training.train import train

Make = Callable[..., TrainConfig]
Losses = Callable[[Path], list[float]]

EXACT = 1e-6
JUDGED = 1e-5  # of weights after the last step, which no loss of the curve saw

QUICK = [
    {"nproc": 2, "shard_strategy": "gradient", "accumulate": 2},
    {"nproc": 2, "pipeline_stages": 2, "model_options": ("tie_word_embeddings=true",)},
]
SLOW = [
    {"nproc": 2},
    {"nproc": 2, "shard_strategy": "optimizer"},
    {"nproc": 2, "shard_strategy": "full"},
    {"nproc": 4, "shard_strategy": "none", "accumulate": 2},
    {"nproc": 4, "shard_strategy": "optimizer"},
    {"nproc": 4, "shard_strategy": "gradient"},
    {"nproc": 4, "shard_strategy": "full", "gradient_checkpointing": True},
    {"nproc": 4, "shard_strategy": "hybrid"},
    {"nproc": 4, "pipeline_stages": 4, "shard_strategy": "gradient"},
    {"nproc": 4, "pipeline_stages": 2, "shard_strategy": "gradient"},
    {"nproc": 4, "pipeline_stages": 2, "shard_strategy": "none"},
    {"nproc": 2, "pipeline_stages": 2, "pipeline_schedule": "gpipe"},
    {"nproc": 2, "pipeline_stages": 2, "pipeline_schedule": "1f1b"},
    {"nproc": 2, "pipeline_stages": 2, "pipeline_schedule": "zbv"},
    {"nproc": 2, "pipeline_stages": 2, "pipeline_schedule": "dualpipev"},
    {"nproc": 2, "pipeline_stages": 2, "pipeline_schedule": "interleaved_zero_bubble"},
]


def name(changes: dict[str, Any]) -> str:
    return "-".join(str(value) for value in changes.values()).replace("(", "").replace("'", "")


@pytest.mark.parametrize(
    "changes",
    [*QUICK, *(pytest.param(changes, marks=pytest.mark.slow) for changes in SLOW)],
    ids=name,
)
def test_losses_are_those_of_one_process(
    tiny: Make, tmp_path: Path, losses: Losses, changes: dict[str, Any]
) -> None:
    options = changes.get("model_options", ())
    one = train(tiny(output=tmp_path / "one", model_options=options))
    many = train(tiny(output=tmp_path / "many", **changes))
    pairs = zip(losses(tmp_path / "one"), losses(tmp_path / "many"), strict=True)
    assert max(abs(a - b) for a, b in pairs) < EXACT
    assert abs(one["held_out"]["loss"] - many["held_out"]["loss"]) < JUDGED
    assert one["held_out"]["accuracy"] == pytest.approx(many["held_out"]["accuracy"], abs=1e-9)
    assert many["processes"] == changes["nproc"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({}, {"nproc": 2, "shard_strategy": "gradient"}),
        ({"nproc": 4, "shard_strategy": "full"}, {"nproc": 2, "shard_strategy": "optimizer"}),
        ({"nproc": 2, "shard_strategy": "optimizer"}, {"nproc": 4, "pipeline_stages": 2}),
        ({"nproc": 4, "pipeline_stages": 4, "shard_strategy": "gradient"}, {}),
        ({"nproc": 4, "pipeline_stages": 2, "shard_strategy": "gradient"}, {"nproc": 2}),
    ],
    ids=name,
)
def test_a_run_goes_on_in_another_layout(
    tiny: Make, tmp_path: Path, losses: Losses, first: dict[str, Any], then: dict[str, Any]
) -> None:
    tied = {"model_options": ("tie_word_embeddings=true",), "ema": 0.5}
    one = train(tiny(output=tmp_path / "one", **tied))
    # The schedule is constant, so that it does not matter that the first half ends early.
    train(tiny(output=tmp_path / "many", steps=3, **tied, **first))
    many = train(tiny(output=tmp_path / "many", resume=True, **tied, **then))
    pairs = zip(losses(tmp_path / "one"), losses(tmp_path / "many"), strict=True)
    assert max(abs(a - b) for a, b in pairs) < EXACT
    assert abs(one["held_out"]["loss"] - many["held_out"]["loss"]) < JUDGED
