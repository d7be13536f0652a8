"""The small functions that a run is made of."""

from itertools import pairwise
from math import inf, isclose, nan
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from deepseek.training.average import WeightAverage
from deepseek.training.config import OptimizerConfig, ScheduleConfig, TrainConfig
from deepseek.training.data.records import RecordRange
from deepseek.training.layout import layout_of, share_of
from deepseek.training.optimizer import parameter_groups
from deepseek.training.scale import LossScale
from deepseek.training.schedule import rate_at


@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
def test_rates_rise_to_one_and_end_at_the_floor(name: str) -> None:
    config = ScheduleConfig(name=name, warmup=0.1, floor=0.2)
    rates = [rate_at(step, steps=100, config=config) for step in range(101)]
    assert all(a < b for a, b in pairwise(rates[:10]))
    assert rates[10] == 1.0
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert isclose(rates[100], 1.0 if name == "constant" else 0.2)


def test_a_schedule_without_warmup_begins_at_the_highest() -> None:
    config = ScheduleConfig(warmup=0.0)
    assert rate_at(0, steps=1, config=config) == 1.0


def test_biases_and_norms_do_not_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    groups = parameter_groups(model.parameters(), 0.1)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [p.dim() for p in groups[0]["params"]] == [2]
    assert sum(len(group["params"]) for group in groups) == 4


def test_a_frozen_parameter_is_not_moved() -> None:
    model = nn.Linear(3, 4)
    model.bias.requires_grad_(False)
    assert len(parameter_groups(model.parameters(), 0.1)) == 1


def test_the_scale_halves_on_overflow_and_doubles_after_patience() -> None:
    scale = LossScale(enabled=True, value=1024.0, patience=2)
    assert not scale.accepts(inf)
    assert scale.value == 512.0
    assert not scale.accepts(nan)
    assert scale.value == 256.0
    assert scale.accepts(1.0)
    assert scale.accepts(1.0)
    assert scale.value == 512.0
    assert LossScale.of("bf16").accepts(inf)


def test_the_average_follows_the_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage([model], 0.5)
    nn.init.ones_(model.weight)
    average.update()
    average.update()
    assert average.tensors["weight"].item() == 0.75
    with average.in_place():
        assert model.weight.item() == 0.75
    assert model.weight.item() == 1.0
    assert WeightAverage([model], 0.0).tensors == {}


def test_every_record_is_learnt_from_or_held_out(tmp_path: Path) -> None:
    learnt = RecordRange(path=tmp_path, every=5)
    held = RecordRange(path=tmp_path, every=5, held_out=True)
    numbers = [part.numbers(np.arange(part.count(23))) for part in (learnt, held)]
    assert sorted(np.concatenate(numbers).tolist()) == list(range(23))
    assert numbers[1].tolist() == [4, 9, 14, 19]


@pytest.mark.parametrize(
    ("batch", "stages", "nproc", "accumulate", "rows", "parts"),
    [
        (32, 1, 1, None, 32, 1),
        (256, 1, 1, None, 256, 1),
        (512, 1, 1, None, 512, 2),
        (2048, 1, 2, None, 1024, 8),
        (32, 1, 2, 4, 16, 4),
        (32, 4, 4, None, 32, 4),
        (2048, 4, 4, None, 2048, 8),
    ],
)
def test_a_batch_is_cut_by_the_rule_of_the_article(
    batch: int, stages: int, nproc: int, accumulate: int | None, rows: int, parts: int
) -> None:
    config = TrainConfig(
        batch_size=batch, pipeline_stages=stages, nproc=nproc, accumulate=accumulate
    )
    share = share_of(config, layout_of(config, nproc))
    assert (share.rows, share.parts) == (rows, parts)


def test_an_optimizer_is_told_sensible_numbers() -> None:
    from deepseek.errors import InputError

    for wrong in ({"lr": 0.0}, {"beta1": 1.0}, {"momentum": -0.1}, {"clip": -1.0}):
        with pytest.raises(InputError, match=f"--optimizer.{next(iter(wrong))}"):
            OptimizerConfig(**wrong)
