"""A checkpoint of one layout loads into every other, and training goes on as if nothing were."""

from pathlib import Path

import pytest
import ranks
from ranks import Case
from tiny import alone

from deepseek.distributed import launch

CASES = [
    Case("gpt", "gradient"),
    Case("gpt", "optimizer"),
    Case("gpt", "none", 2, "zbv"),
    Case("gpt", "none", 2),
]


@pytest.mark.parametrize("saver", [CASES[1], CASES[2]], ids=str)
def test_any_layout_loads_what_another_saved(saver: Case, tmp_path: Path) -> None:
    found = launch(ranks.saved_and_loaded, str(tmp_path), saver, CASES, nproc=2)
    assert len(found) == len(CASES)
    for case in CASES:
        assert found[str(case)] == pytest.approx(alone("gpt")[0][3:], rel=0, abs=1e-6)


def test_a_step_leaves_nothing_behind_in_parameters_before_loading() -> None:
    import torch
    from torch import nn

    from deepseek.distributed import restoring, training_state

    model = nn.Linear(3, 2)
    model.weight.grad = torch.ones(2, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    assert training_state([model], optimizer)["optimizer"] == {}
    with restoring([model], optimizer) as state:
        assert set(state["optimizer"]) == {"weight.momentum_buffer", "bias.momentum_buffer"}
        for tensor in state["optimizer"].values():
            tensor.fill_(2.0)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(model.weight.grad, torch.ones(2, 3))
    assert model.bias.grad is None
    assert optimizer.state[model.bias]["momentum_buffer"].tolist() == [2.0, 2.0]
