"""Activations written out are found, and near ones are not taken for them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from deepseek.compiler.pointwise import Pointwise
from tests.compiler.rewrite.conftest import Found, Written

aten = torch.ops.aten

SPELLINGS = {
    "erf": (lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))), aten.gelu.default),
    "erf, halved last": (lambda x: 0.5 * (x * (1 + torch.erf(x * 2**-0.5))), aten.gelu.default),
    "sigmoid": (lambda x: x * torch.sigmoid(x), aten.silu.default),
    "sigmoid first": (lambda x: torch.sigmoid(x) * x, aten.silu.default),
}
TANH = {
    "cube": lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x.pow(3.0)))),
    "product": lambda x: x * 0.5 * (1.0 + torch.tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x))),
}
NEAR = {
    "another scale": lambda x: x * 0.5 * (1 + torch.erf(x / 1.5)),
    "another half": lambda x: x * 0.6 * (1 + torch.erf(x / math.sqrt(2))),
    "another cube": lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.05 * x.pow(3)))),
    "quick": lambda x: x * torch.sigmoid(1.702 * x),
    "another operand": lambda x: x.flip(0) * torch.sigmoid(x),
    "no factor": torch.sigmoid,
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(found: Found, name: str) -> None:
    function, target = SPELLINGS[name]
    model = Written(lambda _, x: function(x).cumsum(0))
    assert len(found(target, model, torch.randn(7, 9))) == 1


@pytest.mark.parametrize("function", TANH.values(), ids=TANH)
def test_spellings_by_tanh(found: Found, function: Callable[[Tensor], Tensor]) -> None:
    """It has a kernel even where nothing is fused with it."""
    model = Written(lambda _, x: function(x).cumsum(0))
    (node,) = found(Pointwise, model, torch.randn(7, 9))
    (operation,) = node.target.operations
    assert operation.target is aten.gelu.default
    assert dict(operation.options) == {"approximate": "tanh"}


@pytest.mark.parametrize("function", NEAR.values(), ids=NEAR)
def test_near_misses(found: Found, function: Callable[[Tensor], Tensor]) -> None:
    model = Written(lambda _, x: function(x).cumsum(0))
    x = torch.randn(7, 9)
    assert not found(aten.gelu.default, model, x)
    assert not found(aten.silu.default, model, x)


def test_a_value_that_is_read_elsewhere_too(found: Found) -> None:
    def both(_: object, x: Tensor) -> tuple[Tensor, Tensor]:
        gate = torch.sigmoid(x)
        return (x * gate).cumsum(0), gate.cumsum(0)

    assert not found(aten.silu.default, Written(both), torch.randn(7, 9))
