"""The rounding of weights and activations, and the linear layer over them."""

import pytest
import torch

from deepseek.nn.int8_arithmetic import (
    int8_linear,
    int8_linear_reference,
    quantize_tokens,
    quantize_weight,
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
    steps, scale = quantize_tokens(torch.zeros(2, 4))
    assert not steps.any()
    assert (scale == torch.finfo(torch.float32).eps).all()


def test_tokens_use_all_of_int8_and_round_halves_to_even():
    steps, scale = quantize_tokens(torch.tensor([[-127.5, 127.5, 0.5, 1.5, -2.5]]))
    assert scale.item() == 1.0
    assert steps.tolist() == [[-128, 127, 0, 2, -2]]


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 1, 3, 5)])
def test_each_token_has_its_own_scale_at_any_rank(shape):
    x = numbers(*shape)
    steps, scale = quantize_tokens(x)
    assert scale.shape == (*shape[:-1], 1)
    for one, whole in zip(x.reshape(-1, 5), steps.reshape(-1, 5), strict=True):
        assert torch.equal(quantize_tokens(one)[0], whole)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 7), (33, 31, 65), (2, 8, 1500)])
def test_linear_is_its_reference_up_to_rounding(dtype, bias, size):
    rows, outputs, inputs = size
    x, offset = numbers(rows, inputs, dtype=dtype), numbers(outputs, dtype=dtype, seed=2)
    weight, scale = quantize_weight(numbers(outputs, inputs, dtype=dtype, seed=1))
    result = int8_linear(x, weight, scale, offset if bias else None)
    expected = int8_linear_reference(x, weight, scale, offset if bias else None)
    assert result.dtype == dtype
    # The integers are the same; the reference rounds each product's factors to the type again.
    error = (result.double() - expected.double()).norm() / expected.double().norm()
    assert error < 4 * torch.finfo(dtype).eps


def test_integers_are_exact_where_the_numbers_are_integers():
    """With scales of one the layer is an integer product, to the last unit."""
    x = torch.randint(-127, 128, (9, 1100), generator=torch.Generator().manual_seed(0)).float()
    x[:, 0] = 127.5  # makes the scale of every token one; rounds to 127
    weight = torch.randint(-127, 128, (6, 1100), dtype=torch.int8)
    result = int8_linear(x, weight, torch.ones(6, 1), None)
    rounded = x.clamp(-128, 127).round()
    assert torch.equal(result.double(), rounded.double() @ weight.double().t())


def test_nan_in_a_token_shows_in_its_outputs_only():
    x = numbers(3, 8)
    x[1, 2] = torch.nan
    weight, scale = quantize_weight(numbers(4, 8, seed=1))
    result = int8_linear(x, weight, scale, None)
    assert result[1].isnan().all()
    assert result[[0, 2]].isfinite().all()
