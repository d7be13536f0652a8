"""Two models have one key if, and only if, one graph serves both."""

import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from deepseek.compiler.capture import flatten
from deepseek.compiler.kept.description import CannotDescribeError
from deepseek.compiler.kept.identity import _is_installed, identity
from tests.compiler.conftest import SMALL, bert, ids, masked_ids


def key(model: nn.Module, **inputs: Any) -> str:
    return identity(model.eval(), flatten((), inputs or ids(2, 5)))


def first(model: Any) -> Any:
    return model.encoder.layer[0]


def test_content_of_weights_and_sizes_of_inputs_do_not_matter() -> None:
    assert key(bert()) == key(bert()) == key(bert(), **ids(7, 30))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model.encoder.layer[1].attention.self, "scaling", 0.5),
        lambda model: setattr(model.config, "_attn_implementation", "eager"),
        lambda model: setattr(first(model).output.dropout, "p", 0.3),
        lambda model: setattr(first(model).output.LayerNorm, "eps", 1e-3),
        lambda model: setattr(first(model).intermediate, "intermediate_act_fn", nn.ReLU()),
        lambda model: model.encoder.layer[1].output.train(),
        lambda model: model.double(),
        lambda model: setattr(
            model.encoder.layer[1].output.dense, "weight", first(model).output.dense.weight
        ),
        lambda model: setattr(model.pooler.dense, "bias", None),
        lambda model: model.encoder.layer.append(copy.deepcopy(first(model))),
    ],
    ids=[
        "attribute", "config", "dropout", "eps", "activation", "training", "dtype", "tied",
        "no bias", "another layer",
    ],
)  # fmt: skip
def test_what_changes_a_graph_changes_the_key(change: Callable[[Any], object]) -> None:
    model = bert().eval()
    before = identity(model, flatten((), ids(2, 5)))
    change(model)
    assert identity(model, flatten((), ids(2, 5))) != before


@pytest.mark.parametrize(
    "inputs",
    [ids(1, 5), ids(2, 1), masked_ids(2, 5), {**ids(2, 5), "output_hidden_states": True},
     {"input_ids": torch.ones(2, 5, dtype=torch.int32)}],
    ids=["one text", "one token", "a mask", "a constant", "dtype"],
)  # fmt: skip
def test_other_kinds_of_inputs_have_other_keys(inputs: dict[str, Any]) -> None:
    assert key(bert(), **inputs) != key(bert())


def test_another_config_is_another_model() -> None:
    def model(**options: Any) -> nn.Module:
        return BertModel(BertConfig(**SMALL, intermediate_size=128, vocab_size=100, **options))

    assert key(model()) == key(bert())
    assert key(model(hidden_act="relu")) != key(bert())
    assert key(model(layer_norm_eps=1e-3)) != key(bert())


class Holds(nn.Module):
    """A model with one attribute of any kind."""

    def __init__(self, held: object) -> None:
        super().__init__()
        self.held = held

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def of(held: object) -> str:
    return key(Holds(held), x=torch.randn(2, 2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        ([1, 2], (1, 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (functional.relu, functional.gelu),
        (partial(functional.softmax, dim=0), partial(functional.softmax, dim=1)),
        (torch.zeros(3), torch.ones(3)),
        (torch.float32, torch.float64),
        ({1, 2}, {1, 3}),
        ("a", b"a"),
    ],
)
def test_attributes_that_differ_are_told_apart(one: object, other: object) -> None:
    assert of(one) != of(other)
    assert of(one) == of(copy.deepcopy(one))


def test_objects_that_hold_each_other() -> None:
    ring: list[object] = [1]
    ring.append(ring)
    assert of(ring) == of(copy.deepcopy(ring)) != of([1, [1]])


def closure() -> Callable[[int], int]:
    add = 3
    return lambda x: x + add


@pytest.mark.parametrize(
    "held",
    [closure(), lambda x: x, iter([1]), torch.Generator(), torch.zeros(5000), [nn.Linear(2, 2)],
     object()],
    ids=["closure", "lambda", "iterator", "generator", "large tensor", "hidden module", "object"],
)  # fmt: skip
def test_what_may_hide_something_has_no_key(held: object) -> None:
    if type(held) is object:
        assert of(held) == of(object())
        return
    with pytest.raises(CannotDescribeError):
        of(held)


def test_a_class_made_in_a_function_has_no_key() -> None:
    class Local(nn.Module):
        pass

    with pytest.raises(CannotDescribeError):
        key(Local(), x=torch.randn(2))


def test_hooks_that_hide_something() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    before = key(model, x=torch.randn(2, 2))
    handle = model.register_forward_hook(lambda *_: None)
    with pytest.raises(CannotDescribeError):
        key(model, x=torch.randn(2, 2))
    handle.remove()
    assert key(model, x=torch.randn(2, 2)) == before


def test_another_environments_packages_are_installed_ones(tmp_path: Path) -> None:
    """They may be on the path without being this interpreter's."""
    names = ("site-packages", "elsewhere")
    for folder in names:
        file = tmp_path / folder / "thing.py"
        file.parent.mkdir()
        file.write_text("")
        sys.modules[f"thing_{folder}"] = ModuleType("thing")
        sys.modules[f"thing_{folder}"].__file__ = str(file)
    try:
        assert [_is_installed(f"thing_{folder}") for folder in names] == [True, False]
    finally:
        for folder in names:
            del sys.modules[f"thing_{folder}"]
