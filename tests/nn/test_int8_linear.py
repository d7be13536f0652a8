"""The module that stands in for ``nn.Linear``."""

import pytest
import torch
from torch import nn

from deepseek.nn.int8_arithmetic import int8_linear_reference
from deepseek.nn.int8_linear import Int8Linear


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(37, 11).eval()


def test_it_is_close_to_the_layer_it_came_from(linear):
    x = torch.randn(4, 6, 37)
    result, expected = Int8Linear.from_linear(linear)(x), linear(x)
    assert result.shape == expected.shape
    noise = (result - expected).norm() / expected.norm()
    assert 0 < noise < 0.02  # 34 dB; eight bits on both sides give about 40


def test_a_zero_point_pays_where_numbers_are_mostly_positive(linear):
    x = torch.nn.functional.gelu(torch.randn(4, 6, 37))
    expected = linear(x)
    plain, shifted = (
        (Int8Linear.from_linear(linear, symmetric=symmetric)(x) - expected).norm()
        for symmetric in (True, False)
    )
    assert shifted < 0.8 * plain


def test_tensor_names_are_those_of_the_format(linear):
    state = Int8Linear.from_linear(linear).state_dict()
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()} == {
        "weight": (torch.int8, (11, 37)),
        "weight_scale": (torch.float32, (11, 1)),
        "bias": (torch.float32, (11,)),
    }


def test_no_bias():
    layer = Int8Linear.from_linear(nn.Linear(8, 3, bias=False))
    assert "bias" not in layer.state_dict()
    assert layer(torch.zeros(2, 8)).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("assign", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_an_empty_layer_takes_a_state(linear, symmetric, assign):
    filled = Int8Linear.from_linear(linear, symmetric=symmetric)
    empty = nn.Sequential(Int8Linear(37, 11, symmetric=symmetric))
    empty.load_state_dict(
        {f"0.{name}": tensor for name, tensor in filled.state_dict().items()}, assign=assign
    )
    x = torch.randn(3, 37)
    assert torch.equal(empty(x), filled(x))


def test_the_original_is_left_alone(linear):
    before = linear.weight.clone()
    layer = Int8Linear.from_linear(linear)
    assert layer.weight.data_ptr() != linear.weight.data_ptr()
    assert layer.bias.data_ptr() == linear.bias.data_ptr()
    assert torch.equal(linear.weight, before)
    assert not layer.bias.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_type_of_the_model_is_kept(linear, dtype):
    layer = Int8Linear.from_linear(linear.to(dtype))
    assert layer.weight_scale.dtype == dtype
    assert layer(torch.randn(2, 37, dtype=dtype)).dtype == dtype


def test_moving_to_another_type_keeps_the_integers(linear):
    layer = Int8Linear.from_linear(linear).to(torch.bfloat16)
    assert layer.weight.dtype == torch.int8
    assert layer.weight_scale.dtype == torch.bfloat16


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_sentence_does_not_depend_on_its_neighbours(linear, symmetric):
    layer = Int8Linear.from_linear(linear, symmetric=symmetric)
    x = torch.randn(5, 37) * torch.tensor([[1.0], [100.0], [1e-3], [1.0], [7.0]])
    together = layer(x)
    for one, expected in zip(x, together, strict=True):
        assert torch.equal(layer(one), expected)


def test_it_computes_what_its_reference_says(linear):
    layer = Int8Linear.from_linear(linear)
    x = torch.randn(5, 37)
    expected = int8_linear_reference(x, layer.weight, layer.weight_scale, layer.bias, layer.sums)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-6)


def test_repr_tells_the_sizes(linear):
    shown = repr(Int8Linear.from_linear(linear))
    assert shown == "Int8Linear(in_features=37, out_features=11, bias=True, symmetric=False)"
