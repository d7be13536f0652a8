from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.formats.open import open_checkpoint
from deepseek.formats.state_dict import find_state_dict

_PATH = Path("x.pt")
_STATE = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}


@pytest.mark.parametrize(
    ("saved", "place"),
    [
        (_STATE, ""),
        (OrderedDict(_STATE), ""),
        ({"state_dict": _STATE, "epoch": 3}, "state_dict"),
        ({"model": _STATE, "optimizer": {"state": {0: {"exp_avg": torch.ones(1)}}}}, "model"),
        ({"model": {"state_dict": _STATE}}, "model.state_dict"),
        ({"module": _STATE, "args": {"x": torch.ones(1)}}, "module"),
        ({"model_state_dict": _STATE, "loss": 0.5}, "model_state_dict"),
        ({"generator": _STATE, "optimizer_states": [], "step": 7}, "generator"),
    ],
)
def test_is_found_where_training_code_puts_it(saved: object, place: str) -> None:
    found = find_state_dict(saved, _PATH)
    assert list(found.tensors) == list(_STATE)
    assert found.place == place


def test_values_that_are_no_tensors_are_left_out_and_said() -> None:
    found = find_state_dict({**_STATE, "a._extra_state": None, "steps": 3}, _PATH)
    assert list(found.tensors) == list(_STATE)
    assert found.skipped == ("a._extra_state", "steps")


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"generator": _STATE, "critic": _STATE.copy()}, "found several: generator, critic"),
        ({"epoch": 3}, "expected named tensors, found keys without tensors: epoch"),
        ({}, "found an empty or unnamed mapping"),
        ({0: torch.ones(1)}, "found an empty or unnamed mapping"),
        (torch.ones(2), "found an object of type Tensor"),
        ([torch.ones(2)], "found an object of type list"),
        (None, "found an object of type NoneType"),
    ],
)
def test_what_holds_no_state_dict_is_refused(saved: object, message: str) -> None:
    with pytest.raises(InputError, match=f"^x.pt: .*{message}"):
        find_state_dict(saved, _PATH)


def test_mappings_that_hold_each_other_end() -> None:
    first: dict[str, Any] = {f"k{n}": {} for n in range(50)}
    for key in list(first):
        first[key] = first
    with pytest.raises(InputError, match="expected named tensors"):
        find_state_dict(first, _PATH)


class _Hyper(dict[str, object]):
    """A class derived from dict, as the one Lightning keeps hyper-parameters in."""


def test_lightning_with_hyper_parameters(tmp_path: Path) -> None:
    path = tmp_path / "epoch=3.ckpt"
    hyper = _Hyper(lr=0.1, schedule=defaultdict(list))
    torch.save(
        {
            "epoch": 3,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": {f"model.{name}": value for name, value in _STATE.items()},
            "hyper_parameters": hyper,
        },
        path,
    )
    with pytest.raises(InputError, match="mentions names") as caught:
        open_checkpoint(path)
    name = f"{_Hyper.__module__}.{_Hyper.__qualname__}"
    assert name in caught.value.message
    checkpoint = open_checkpoint(
        path, allow_globals=(name, "collections.defaultdict", "builtins.list")
    )
    assert list(checkpoint.infos) == list(_STATE)
    assert torch.equal(checkpoint.read("a.weight"), _STATE["a.weight"])
    assert checkpoint.notes == (
        "the weights lie under state_dict",
        "model. was taken off every name",
    )


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.out = nn.Linear(4, 5, bias=False)
        self.out.weight = self.embed.weight
        self.register_buffer("table", torch.ones(3), persistent=False)


def test_a_module_that_was_saved_whole(tmp_path: Path) -> None:
    """Its classes are named and allowed, never imported: here they could not even be found."""
    path, module = tmp_path / "whole.pt", _Tied()
    torch.save(module, path)
    allow = _allowed(path)
    assert "torch.nn.modules.linear.Linear" in allow
    checkpoint = open_checkpoint(path, allow_globals=allow)
    state = module.state_dict()
    assert list(checkpoint.infos) == list(state)
    for name, value in state.items():
        assert torch.equal(checkpoint.read(name), value)
    assert checkpoint.shared == {"out.weight": "embed.weight"}


def test_a_module_saved_whole_with_its_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    torch.save(nn.Linear(2, 2), path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError) as caught:
        open_checkpoint(path, allow_globals=_allowed(path))
    assert caught.value.hint == "save the state_dict(), not the module itself"


def _allowed(path: Path) -> list[str]:
    """What the hint of the refusal says to allow."""
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    return [one.strip() for one in (caught.value.hint or "").split("--allow_global")[1:]]


def test_an_object_in_the_place_of_a_tensor_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "odd.pt"
    torch.save({"w": torch.ones(1), "q": _Tied()}, path)
    allow = _allowed(path)
    with pytest.raises(InputError, match="expected a tensor under 'q', found an object of"):
        open_checkpoint(path, allow_globals=allow)
