"""Softmax and log-softmax against plain PyTorch in float64."""

import itertools
from math import inf, nan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.errors import InputError
from deepseek.kernels import log_softmax, softmax
from deepseek.kernels.rows import softmax_reference, spec
from deepseek.kernels.rows.operands import levels
from deepseek.kernels.rows.softmaxes import run_softmax

TAILS = [1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257]
DTYPES = [torch.float32, torch.bfloat16]
LOWEST = torch.finfo(torch.float32).min


def tensors(*shapes, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [4 * torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def check(x, mask=None, bias=None, scale=1.0, out=None, target=None, logarithm=False):
    """Compare with float64; a score's own rounding is part of the error of its exponential."""
    y = run_softmax(logarithm, x, mask, bias, scale, out, target)
    exact = softmax_reference(x, mask, bias, scale, logarithm=logarithm, precision=torch.float64)
    assert y.is_contiguous()
    assert y.dtype == (out or x.dtype)
    unit = 2.0**-8 if y.dtype == torch.bfloat16 else 2e-6
    torch.testing.assert_close(
        y.double(), exact, atol=unit if logarithm else unit / 100, rtol=unit, equal_nan=True
    )


@pytest.mark.parametrize("logarithm", [False, True])
def test_tails(target, threads, logarithm):
    for rows, width in itertools.product([1, 9], TAILS):
        (x,) = tensors((rows, width))
        check(x, target=target, logarithm=logarithm)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tails_with_everything(target, threads, dtype):
    for width in TAILS:
        x, bias = tensors((2, 3, 5, width), (3, 5, width), dtype=dtype)
        mask = torch.rand(2, 1, 1, width, generator=torch.Generator().manual_seed(1)) > 0.3
        mask[..., 0] = True
        check(x, mask, bias, 0.3, target=target)


def test_masks(threads):
    x, bias, additive = tensors((2, 3, 20, 40), (1, 3, 20, 40), (2, 1, 20, 40))
    seen = torch.ones(20, 40, dtype=torch.bool).tril(20)
    padding = torch.arange(40) < torch.tensor([[[[30]]], [[[17]]]])
    for mask in (None, seen, padding, seen & padding, additive, additive.bfloat16(),
                 additive[..., :1], torch.where(padding, 0.0, LOWEST)):  # fmt: skip
        for chosen_bias in (None, bias):
            check(x, mask, chosen_bias, 0.125)


def test_enough_rows_for_all_threads(threads):
    (x,) = tensors((500, 700))
    check(x)
    check(x, logarithm=True)
    check(x.bfloat16())


def test_wide_rows_of_bfloat16():
    (x,) = tensors((3, 5000), dtype=torch.bfloat16)
    check(x)
    check(x.float(), out=torch.bfloat16)
    check(x, out=torch.float32)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    kept=st.lists(st.booleans(), min_size=4, max_size=4),
    swap=st.booleans(),
)
def test_any_shape_and_broadcast(shape, kept, swap):
    (x,) = tensors(shape)
    if swap and len(shape) > 2:
        x = x.transpose(0, 1)
    part = [size if keep else 1 for size, keep in zip(x.shape, kept, strict=False)]
    (bias,) = tensors(part, seed=1)
    check(x, None, bias)


@pytest.mark.parametrize("offset", [1e4, -1e7, 1e30, LOWEST])
def test_rows_far_from_zero(target, offset):
    """The maximum is subtracted exactly; a fully masked row of the lowest number is uniform."""
    x = torch.zeros(2, 40)
    x[0, 3] = -5.0
    y = run_softmax(False, x + offset, None, None, 1.0, None, target)
    torch.testing.assert_close(y, torch.softmax(x + offset, -1))


@pytest.mark.parametrize("logarithm", [False, True])
def test_infinity_and_nan(target, logarithm):
    for width in (8, 9, 40):
        (x,) = tensors((9, width))
        x[1, :] = -inf
        x[2, 3], x[3, 3], x[4, 3], x[5, width - 1], x[6, 0] = nan, inf, -inf, nan, inf
        y = run_softmax(logarithm, x, None, None, 1.0, None, target)
        theirs = (torch.log_softmax if logarithm else torch.softmax)(x, -1)
        torch.testing.assert_close(y, theirs, equal_nan=True, atol=1e-5, rtol=1e-5)
        narrow = run_softmax(logarithm, x.bfloat16(), None, None, 1.0, None, target)
        assert torch.equal(narrow.isnan(), theirs.isnan())


def test_rows_that_are_masked_in_whole_are_nan(target):
    x, mask = torch.ones(3, 20), torch.ones(3, 20, dtype=torch.bool)
    mask[1] = False
    y = run_softmax(False, x, mask, None, 1.0, None, target)
    assert y[1].isnan().all()
    torch.testing.assert_close(y[::2], torch.full((2, 20), 0.05))


@pytest.mark.parametrize("offset", range(1, 5))
def test_alignment(target, offset):
    (memory,) = tensors((2000,))
    x = memory[offset : offset + 9 * 47].view(9, 47)
    check(x, bias=x, target=target)


def test_strided_operands():
    (x,) = tensors((4, 5, 6, 40))
    check(x.permute(2, 0, 1, 3))
    check(x.transpose(1, 3))
    check(x[::2, :, 1:4, 5:25], bias=x[0, :, 1:4, 5:25])
    check(x[..., ::2], mask=(x > 0)[..., 1::2] | (torch.arange(20) == 0))
    check(x[:1].expand(4, 5, 6, 40))


def test_leading_dimensions_become_three():
    assert levels((2, 3, 5), [(15, 5, 1)]) == (1, 30, [(0, 0, 1)])
    assert levels((2, 3, 5), [(15, 5, 1), (4, 0, 0)]) == (2, 15, [(0, 15, 1), (0, 4, 0)])
    assert levels((2, 3, 5), [(15, 5, 1), (0, 1, 0)]) == (3, 5, [(15, 5, 1), (0, 1, 0)])
    assert levels((2, 3, 4, 5), [(60, 20, 5, 1), (0, 1, 0, 3)]) is None
    assert levels((), [()]) == (1, 1, [(0, 0, 0)])


@pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5), (2, 0), (0,)])
def test_zero_sizes(shape):
    x = torch.ones(shape)
    assert softmax(x, scale=0.5).shape == shape
    assert log_softmax(x, out_dtype=torch.bfloat16).dtype == torch.bfloat16


def test_public_functions_are_what_they_say():
    x, bias = tensors((5, 30), (30,))
    torch.testing.assert_close(softmax(x), torch.softmax(x, -1))
    torch.testing.assert_close(log_softmax(x), torch.log_softmax(x, -1))
    mask = torch.arange(30) < 20
    exact = torch.softmax((x * 0.5 + bias).masked_fill(~mask, -inf), -1)
    torch.testing.assert_close(softmax(x, mask, bias, 0.5), exact)
    torch.testing.assert_close(log_softmax(x, mask, bias, 0.5), exact.log())


def test_large_results_are_streamed(threads, monkeypatch):
    monkeypatch.setattr(spec, "_WORTH_STREAMING", 1 << 20)
    (x,) = tensors((701, 768))
    torch.testing.assert_close(log_softmax(x), torch.log_softmax(x, -1))


X = torch.ones(3, 4)
REFUSED = {
    "dtype": ({"x": X.half()}, "`x` of float32 or bfloat16, got torch.float16"),
    "scalar": ({"x": torch.tensor(1.0), "scale": 2.0}, r"`x` of shape \(..., width\), got \(\)"),
    "mask": ({"mask": X[:2]}, r"`mask` broadcast to \(3, 4\), got shape \(2, 4\)"),
    "mask of more": ({"mask": X[None]}, r"`mask` broadcast to \(3, 4\), got shape \(1, 3, 4\)"),
    "mask dtype": ({"mask": X.int()}, "`mask` of bool, float32 or bfloat16, got torch.int32"),
    "mask device": ({"mask": X.to("meta")}, "`mask` on cpu, got meta"),
    "mask grad": ({"mask": X.clone().requires_grad_()}, "`mask` without a gradient"),
    "bias": ({"bias": X.bool()}, "`bias` of float32 or bfloat16, got torch.bool"),
    "out": ({"out_dtype": torch.int8}, "`out_dtype` of float32 .*, got torch.int8"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    arguments, message = REFUSED[case]
    with pytest.raises(InputError, match=f"expected {message}"):
        softmax(**{"x": X, **arguments})
