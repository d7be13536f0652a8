"""Stages can be cut by measured time; a resumed run keeps the cut that it began with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deepseek.distributed.costs import Costs
from deepseek.training import stage_costs as module
from deepseek.training.config import TrainConfig
from deepseek.training.data.prepare import prepare
from deepseek.training.model import find_model
from deepseek.training.stage_costs import stage_costs
from deepseek.training.train import train

Make = Callable[..., TrainConfig]
Losses = Callable[[Path], list[float]]


def test_every_part_is_measured_and_kept(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(pipeline_stages=2, pipeline_balance="measured")
    source = find_model(config.model)
    data = prepare(config, source, lambda *_: None)
    kept = tmp_path / "stages.json"
    costs = stage_costs(config, source, data, 2, kept)
    assert costs is not None
    assert len(costs.blocks) == 4
    assert min(costs.entrance, *costs.blocks, costs.exit) > 0
    monkeypatch.setattr(module, "_measured", lambda *_: Costs(9.0, (9.0,), 9.0))
    resumed = tiny(pipeline_stages=2, pipeline_balance="measured", resume=True)
    assert stage_costs(resumed, source, data, 2, kept) == costs


@pytest.mark.parametrize("changes", [{}, {"pipeline_stages": 2}, {"pipeline_balance": "measured"}])
def test_nothing_is_measured_unless_asked(
    tiny: Make, tmp_path: Path, changes: dict[str, object]
) -> None:
    config = tiny(**changes)
    source = find_model(config.model)
    data = prepare(config, source, lambda *_: None)
    assert stage_costs(config, source, data, 2, tmp_path / "stages.json") is None


@pytest.mark.slow
def test_stages_follow_the_costs_and_learn_the_same(
    tiny: Make, tmp_path: Path, losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    uneven = Costs(1.0, (30.0, 1.0, 1.0, 1.0), 1.0)
    monkeypatch.setattr(module, "_measured", lambda *_: uneven)
    layout = {"nproc": 2, "pipeline_stages": 2, "pipeline_balance": "measured"}
    train(tiny(output=tmp_path / "one"))
    train(tiny(output=tmp_path / "cut", checkpoint_every=3, **layout))
    assert json.loads((tmp_path / "cut" / "stages.json").read_text())["blocks"][0] == 30.0
    pairs = zip(losses(tmp_path / "one"), losses(tmp_path / "cut"), strict=True)
    assert max(abs(a - b) for a, b in pairs) < 1e-6
    files = (tmp_path / "cut" / "checkpoints" / "step-00000006").glob("*.safetensors")
    from safetensors import safe_open

    owners = [set(safe_open(str(file), "pt").keys()) for file in files]
    last = [names for names in owners if any(".h.3." in name for name in names)]
    assert last
    assert not any(".h.0." in name for names in last for name in names)
    assert any(".h.1." in name for names in last for name in names)
