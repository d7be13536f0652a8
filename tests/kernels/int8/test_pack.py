"""Weights in floating point become the panels that the plain formulas make of them."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.errors import InputError
from deepseek.kernels import int8
from deepseek.nn.int8_arithmetic import quantize_weight

TAILS = [1, 3, 4, 5, 15, 16, 17, 47, 48, 49, 97, 257]


def weights(n, k, seed=0):
    """Rows of many magnitudes, one of them zero."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(n, k, generator=generator)
    weight *= 10.0 ** torch.randint(-20, 20, (n, 1), generator=generator)
    weight[n // 2] = 0.0
    return weight


def check(weight, rounding="asymmetric", target=None):
    found = int8.quantize_int8(weight, rounding, target)
    expected = int8.pack_int8(*quantize_weight(weight), rounding, target)
    assert torch.equal(found.panels, expected.panels)
    kinds = [(p.features, p.depth, p.format, p.rounding, p.target) for p in (found, expected)]
    assert kinds[0] == kinds[1]


def test_tails(target):
    for n, k in itertools.product(TAILS, TAILS):
        if n in (1, 49) or k in (5, 48):
            check(weights(n, k, seed=n + k), target=target)


def test_other_processors(foreign):
    for n, k in ((49, 33), (48, 64), (7, 5)):
        check(weights(n, k), "symmetric", foreign)


def test_any_strides():
    weight = weights(130, 260)
    for view in (weight.t(), weight[:, 3:90], weight[::2], weight[:, ::3], weight[5:6]):
        check(view)


def test_no_rows_or_no_columns():
    check(torch.ones(0, 8))
    assert int8.quantize_int8(torch.ones(8, 0)).unpack().shape == (8, 0)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40)
)
def test_any_row(row):
    """Subnormal numbers, the greatest numbers, zeros of both signs."""
    check(torch.tensor([row, row[::-1]]))


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_a_row_that_is_not_finite_gives_nan(broken):
    weight = weights(5, 33)
    weight[1, 20] = broken
    packed = int8.quantize_int8(weight)
    y = int8.linear_int8(torch.ones(1, 33), packed)
    assert y.isnan().tolist() == [[False, True, False, False, False]]


@pytest.mark.parametrize(
    ("weight", "rounding", "words"),
    [
        (torch.ones(3), "symmetric", "two dimensions"),
        (torch.ones(3, 4, dtype=torch.bfloat16), "symmetric", "bfloat16"),
        (torch.ones(1, 65_794), "symmetric", "at most 65793 columns"),
        (torch.ones(3, 4), "blocks", "a rounding of"),
    ],
)
def test_what_does_not_fit_is_refused(weight, rounding, words):
    with pytest.raises(InputError, match=words):
        int8.quantize_int8(weight, rounding)
