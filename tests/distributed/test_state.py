"""A checkpoint of one layout loads into every other, and training goes on as if nothing were."""

import pytest
from cases import LOADED_BY, SAVED_BY, Case
from tiny import alone


@pytest.mark.parametrize("saver", SAVED_BY, ids=str)
def test_any_layout_loads_what_another_saved(pair: dict[str, object], saver: Case) -> None:
    found = pair[f"saved by {saver}"]
    assert isinstance(found, dict), found
    assert list(found) == [str(case) for case in LOADED_BY]
    for losses in found.values():
        assert losses == pytest.approx(alone("gpt")[0][3:], rel=0, abs=1e-6)


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
