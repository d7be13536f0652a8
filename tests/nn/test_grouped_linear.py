"""Layers whose weights alone are quantized, against the numbers their integers stand for."""

import copy

import pytest
import torch
from torch import nn

from deepseek.kernels.int8 import quantize_groups
from deepseek.nn import compute as module
from deepseek.nn.grouped_linear import GroupedLinear

FORMS = [(4, False), (4, True), (8, False)]


def layer(bits=4, zeros=False, features=(70, 11), group_size=32, bias=True, dtype=torch.float32):
    torch.manual_seed(0)
    linear = nn.Linear(*features, bias=bias).to(dtype).eval()
    weight = quantize_groups(linear.weight, bits, group_size, zeros=zeros)
    return GroupedLinear.from_quantized(weight, bits, linear), weight, linear


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("bits", "zeros"), FORMS)
@pytest.mark.parametrize("shape", [(70,), (1, 70), (3, 5, 70), (0, 70)])
def test_it_computes_with_the_numbers_of_its_integers(shape, bits, zeros, bias, dtype):
    one, weight, linear = layer(bits, zeros, bias=bias, dtype=dtype)
    x = torch.randn(shape).to(dtype)
    wide = None if linear.bias is None else linear.bias.float()
    expected = nn.functional.linear(x.float(), weight.numbers(), wide)
    tolerance = 1e-3 if dtype == torch.float32 else 3e-2
    with torch.no_grad():
        torch.testing.assert_close(one(x).float(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("bits", "zeros"), FORMS)
def test_integers_survive_packing(bits, zeros):
    one, weight, _ = layer(bits, zeros)
    found = one.quantized()
    assert torch.equal(found.integers, weight.integers)
    assert torch.equal(found.scales.float(), weight.scales.float())
    assert (found.zeros is None) == (weight.zeros is None)
    if weight.zeros is not None:
        assert torch.equal(found.zeros.float(), weight.zeros.float())


def test_kernels_compute_it_once_packed(monkeypatch):
    used = []
    real = module.linear_weight_only

    def spy(x, packed, bias):
        used.append(packed)
        return real(x, packed, bias)

    monkeypatch.setattr(module, "linear_weight_only", spy)
    one, _, _ = layer()
    for rows in (1, 4):
        one(torch.randn(rows, 70))
    assert len(used) == 2
    assert used[0] is used[1]


def test_other_types_keep_to_torch():
    one, weight, linear = layer()
    x = torch.randn(3, 70, dtype=torch.float64)
    one.bias = one.bias.double()
    expected = nn.functional.linear(x, weight.numbers().double(), linear.bias.double())
    torch.testing.assert_close(one(x), expected)


def test_an_empty_layer_takes_a_state():
    filled, _, _ = layer(zeros=True)
    empty = GroupedLinear(70, 11, bits=4, group_size=32, zeros=True)
    empty.load_state_dict(filled.state_dict())
    x = torch.randn(2, 70)
    assert torch.equal(empty(x), filled(x))
    assert torch.equal(copy.deepcopy(filled)(x), filled(x))


def test_it_can_be_exported():
    one, _, _ = layer(bias=False)
    x = torch.randn(2, 70)
    exported = torch.export.export(one, (torch.ones_like(x),)).module()(x)
    torch.testing.assert_close(exported, one(x), atol=1e-3, rtol=1e-3)


def test_a_quarter_of_a_byte_a_weight_and_its_scales():
    one, _, linear = layer(features=(1024, 64), group_size=64, bias=False)
    stored = sum(tensor.nbytes for tensor in one.state_dict().values())
    assert stored < 0.16 * linear.weight.nbytes


def test_repr_tells_sizes_and_form():
    shown = "in_features=70, out_features=11, bias=True, bits=4, group_size=32, zeros=False"
    assert repr(layer()[0]) == f"GroupedLinear({shown})"
