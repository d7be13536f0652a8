"""Models whose layers are quantized already run on the kernels, fused as others are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

import deepseek
from deepseek.compiler.operators import Linear
from deepseek.compiler.rewrite import precision
from deepseek.kernels.int8 import quantize_groups
from deepseek.kernels.int8.pack import INT8_ROUNDINGS
from deepseek.nn.grouped_linear import GroupedLinear
from deepseek.nn.int8_linear import Int8Linear

if TYPE_CHECKING:
    from tests.compiler.rewrite.conftest import Found

Make = Callable[[nn.Linear], nn.Module]
STEP = 2e-3  # what one step more or less of an activation that is rounded to 8 bits changes


def grouped(bits: int, zeros: bool) -> Make:
    def make(linear: nn.Linear) -> nn.Module:
        weight = quantize_groups(linear.weight, bits, 32, zeros=zeros)
        return GroupedLinear.from_quantized(weight, bits, linear)

    return make


KINDS = [
    pytest.param(Int8Linear.from_linear, "asymmetric", id="int8"),
    pytest.param(
        lambda linear: Int8Linear.from_linear(linear, symmetric=True), "symmetric", id="symmetric"
    ),
    pytest.param(grouped(4, False), "blocks", id="4 bits"),
    pytest.param(grouped(4, True), "blocks", id="4 bits, zeros"),
    pytest.param(grouped(8, False), "blocks", id="8 bits"),
]


class Feed(nn.Module):
    """Two layers with GELU between, and the input added."""

    def __init__(self, make: Make, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = (make(nn.Linear(64, 64).to(dtype)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(nn.functional.gelu(self.up(x)))


class Heads(nn.Module):
    """Queries, keys and values of four heads."""

    def __init__(self, make: Make, width: int = 64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v = (make(nn.Linear(64, width)) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = (layer(x).view(x.shape[0], x.shape[1], 4, -1).transpose(1, 2) for layer in
                (self.q, self.k, self.v))  # fmt: skip
        return nn.functional.scaled_dot_product_attention(*rows)


@pytest.mark.parametrize(("make", "rounding"), KINDS)
def test_what_follows_goes_into_the_layer(found: Found, make: Make, rounding: str) -> None:
    up, down = found(Linear, Feed(make), torch.randn(3, 5, 64), atol=STEP)
    assert {up.target.weight.rounding, down.target.weight.rounding} == {rounding}
    assert up.target.activation == ("gelu_coarse" if rounding in INT8_ROUNDINGS else "gelu")
    assert len(down.args) == 2


@pytest.mark.parametrize(("make", "rounding"), KINDS)
def test_layers_of_one_input_become_one(
    found: Found, make: Make, rounding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_tiles", lambda: False)  # which would round attention
    (whole,) = found(Linear, Heads(make), torch.randn(2, 5, 64))
    assert whole.target.weight.features == 192
    assert whole.target.weight.rounding == rounding


def test_zero_points_that_share_a_word_stay_apart(found: Found) -> None:
    assert len(found(Linear, Heads(grouped(4, True), width=12), torch.randn(2, 5, 64))) == 3


@pytest.mark.parametrize("precision", ["fp32", "int8", "bf16"])
def test_quantized_weights_stay_what_they_are(precision: str) -> None:
    model, x = Feed(Int8Linear.from_linear).eval(), torch.randn(5, 64)
    compiled = deepseek.compile(model, precision=precision)
    for _ in range(3):
        torch.testing.assert_close(compiled(x), model(x), rtol=2e-5, atol=STEP)
    (linears,) = [
        [node.target.weight for node in each.program.graph.nodes if isinstance(node.target, Linear)]
        for each in compiled.compilations
    ]
    assert [weight.rounding for weight in linears] == ["asymmetric"] * 2


@pytest.mark.parametrize("make", [Int8Linear.from_linear, grouped(8, False)])
def test_numbers_that_kernels_do_not_take_are_left_to_torch(make: Make) -> None:
    model = Feed(make, torch.float64).eval()
    x = torch.randn(5, 64, dtype=torch.float64)
    compiled = deepseek.compile(model)
    for _ in range(3):
        torch.testing.assert_close(compiled(x), model(x))
