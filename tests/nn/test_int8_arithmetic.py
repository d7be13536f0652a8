"""The rounding of weights and activations, and the linear layer over them."""

import pytest
import torch

from deepseek.nn.int8_arithmetic import (
    int8_linear,
    int8_linear_reference,
    quantize_tokens,
    quantize_weight,
    weight_sums,
)

FLOATS = [torch.float32, torch.bfloat16, torch.float16]


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_weight_error_is_half_a_step_of_its_own_channel(dtype):
    weight = numbers(7, 33, dtype=dtype) * torch.logspace(-3, 2, 7)[:, None].to(dtype)
    steps, scale = quantize_weight(weight)
    assert scale.shape == (7, 1)
    assert scale.dtype == dtype
    assert steps.dtype == torch.int8
    assert steps.min() >= -127
    error = (steps.float() * scale.float() - weight.float()).abs()
    slack = 127 * torch.finfo(dtype).eps  # the scale itself is rounded to the type
    assert (error <= scale.float() * (0.5 + slack)).all()


def test_largest_weight_of_a_channel_is_exact():
    steps, _ = quantize_weight(torch.tensor([[-2.0, 1.0, 0.5], [0.25, 0.0, 0.125]]))
    assert steps.tolist() == [[-127, 64, 32], [127, 0, 64]]


def test_zero_channel_and_zero_token_stay_zero():
    steps, scale = quantize_weight(torch.zeros(2, 4))
    assert not steps.any()
    assert (scale == torch.finfo(torch.float32).eps).all()
    steps, scale, _ = quantize_tokens(torch.zeros(2, 4), symmetric=True)
    assert not steps.any()
    assert (scale == torch.finfo(torch.float32).eps).all()


def test_a_zero_token_gives_the_bias():
    weight, scale = quantize_weight(numbers(5, 4))
    for sums in (None, weight_sums(weight)):
        result = int8_linear(torch.zeros(2, 4), weight, scale, torch.arange(5.0), sums)
        assert torch.equal(result, torch.arange(5.0).expand(2, 5))


def test_symmetric_tokens_use_all_of_int8_and_round_halves_to_even():
    x = torch.tensor([[-127.5, 127.5, 0.5, 1.5, -2.5]])
    steps, scale, zero = quantize_tokens(x, symmetric=True)
    assert scale.item() == 1.0
    assert zero is None
    assert steps.tolist() == [[-128, 127, 0, 2, -2]]


def test_tokens_with_a_zero_point_use_all_of_int8():
    steps, scale, zero = quantize_tokens(torch.tensor([[-55.0, 200, 0, 0.5]]), symmetric=False)
    assert (scale.item(), zero.item()) == (1.0, -73.0)
    assert steps.tolist() == [[-128, 127, -73, -72]]  # -72.5 goes to the even neighbour


@pytest.mark.parametrize("sign", [1, -1])
def test_zero_is_exact_where_all_numbers_have_one_sign(sign):
    x = sign * torch.tensor([[3.0, 255.0, 0.0]])
    steps, scale, zero = quantize_tokens(x, symmetric=False)
    assert ((steps - zero) * scale)[0, 2] == 0
    assert scale.item() == 1.0


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 1, 3, 5)])
def test_each_token_has_its_own_scale_at_any_rank(shape, symmetric):
    x = numbers(*shape)
    steps, scale, zero = quantize_tokens(x, symmetric=symmetric)
    assert scale.shape == (*shape[:-1], 1)
    assert zero is None if symmetric else zero.shape == scale.shape
    for one, whole in zip(x.reshape(-1, 5), steps.reshape(-1, 5), strict=True):
        assert torch.equal(quantize_tokens(one, symmetric=symmetric)[0], whole)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", FLOATS)
def test_token_error_is_half_a_step(dtype, symmetric):
    x = numbers(64, 33, dtype=dtype)
    steps, scale, zero = quantize_tokens(x, symmetric=symmetric)
    shifted = steps.float() - (0 if zero is None else zero.float())
    error = (shifted * scale.float() - x.float()).abs()
    # Half a step by rounding, and as much at the ends of the range; the type rounds as well.
    slack = 256 * torch.finfo(dtype).eps
    assert (error <= scale.float() * (1 + slack)).all()
    assert error.mean() < 0.3 * scale.float().mean()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 7), (33, 31, 65), (2, 8, 1500)])
def test_linear_is_its_reference_up_to_rounding(dtype, symmetric, bias, size):
    rows, outputs, inputs = size
    x, offset = numbers(rows, inputs, dtype=dtype), numbers(outputs, dtype=dtype, seed=2)
    weight, scale = quantize_weight(numbers(outputs, inputs, dtype=dtype, seed=1))
    rest = (offset if bias else None, None if symmetric else weight_sums(weight))
    result = int8_linear(x, weight, scale, *rest)
    expected = int8_linear_reference(x, weight, scale, *rest)
    assert result.dtype == dtype
    # The integers are the same; the reference rounds each product's factors to the type again.
    error = (result.double() - expected.double()).norm() / expected.double().norm()
    assert error < 4 * torch.finfo(dtype).eps


def test_integers_are_exact_where_the_numbers_are_integers():
    """With scales of one the layer is an integer product, to the last unit."""
    x = torch.randint(-127, 128, (9, 1100), generator=torch.Generator().manual_seed(0)).float()
    weight = torch.randint(-127, 128, (6, 1100), dtype=torch.int8)
    x[:, 0], x[:, 1] = 127, -128  # makes the scale of every token one, with a zero point of zero
    result = int8_linear(x, weight, torch.ones(6, 1), None, weight_sums(weight))
    assert torch.equal(result.double(), x.double() @ weight.double().t())
    expected = x.double() @ weight.double().t()
    x[:, 0], x[:, 1] = 127.5, -127.5  # the same for symmetric ones; these round to 127 and -128
    result = int8_linear(x, weight, torch.ones(6, 1), None, None)
    assert torch.equal(result.double(), expected)


@pytest.mark.parametrize("depth", [1, 1024, 1025, 3072])
def test_zero_points_at_the_ends_of_the_range_are_exact(depth):
    """All inputs 255 and all weights extreme: the largest sums there can be."""
    for sign, value in ((1, 127), (-1, 127), (1, -127)):
        weight = torch.full((2, depth), value, dtype=torch.int8)
        x = torch.full((1, depth), 255.0 * sign, dtype=torch.float64)
        result = int8_linear(x, weight, torch.ones(2, 1), None, weight_sums(weight))
        assert result.tolist() == [[255.0 * sign * value * depth] * 2]


@pytest.mark.parametrize("symmetric", [True, False])
def test_nan_in_a_token_shows_in_its_outputs_only(symmetric):
    x = numbers(3, 8)
    x[1, 2] = torch.nan
    weight, scale = quantize_weight(numbers(4, 8, seed=1))
    result = int8_linear(x, weight, scale, None, None if symmetric else weight_sums(weight))
    assert result[1].isnan().all()
    assert result[[0, 2]].isfinite().all()
