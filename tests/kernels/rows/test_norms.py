"""Layer norm and RMS norm against plain PyTorch in float64."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.errors import InputError
from deepseek.kernels import add_layer_norm, add_rms_norm, layer_norm, rms_norm
from deepseek.kernels.rows import norm_reference, spec
from deepseek.kernels.rows.norms import run_norm
from deepseek.kernels.rows.spec import ACTIVATIONS
from deepseek.kernels.target import host

TAILS = [1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257]
DTYPES = [torch.float32, torch.bfloat16]


def tensors(*shapes, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def check(x, weight=None, bias=None, residual=None, activation=None, out=None, target=None,
          centered=True, summed=False):  # fmt: skip
    """Compare with float64, within a few units in the last place of the largest term."""
    options = (1e-5, residual, activation, out, target)
    y, total = run_norm(centered, summed, x, weight, bias, *options)
    exact, whole = norm_reference(
        x, weight, bias, 1e-5, residual, activation, centered=centered, precision=torch.float64
    )
    assert y.shape == exact.shape
    assert y.is_contiguous()
    close(y, exact)
    if summed:
        close(total, whole)
    return y


def close(y, exact):
    unit = 2.0**-8 if y.dtype == torch.bfloat16 else 2.0**-20
    torch.testing.assert_close(y.double(), exact, atol=2 * unit, rtol=unit, equal_nan=True)


@pytest.mark.parametrize("centered", [True, False])
def test_tails(target, threads, centered):
    for rows, width in itertools.product([1, 9], TAILS):
        x, weight = tensors((rows, width), (width,))
        check(x, weight, target=target, centered=centered)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tails_with_everything(target, threads, dtype):
    for width in TAILS:
        x, residual, weight, bias = tensors((5, width), (5, width), (width,), (width,), dtype=dtype)
        check(x, weight, bias, residual, "gelu", target=target, summed=True)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("centered", [True, False])
def test_activations_and_mixed_dtypes(activation, centered):
    x, residual, weight, bias = tensors((6, 70), (6, 70), (70,), (70,))
    check(x, weight, bias, residual.bfloat16(), activation, torch.bfloat16, centered=centered)
    check(x.bfloat16(), None, bias.bfloat16(), None, activation, torch.float32, centered=centered)


def test_enough_rows_for_all_threads(threads):
    x, residual, weight, bias = tensors((300, 768), (300, 768), (768,), (768,))
    check(x, weight, bias, residual, summed=True)
    check(x, weight, centered=False)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(0, 7), max_size=3),
    width=st.integers(0, 150),
    offset=st.sampled_from([0.0, -300.0]),
)
def test_any_shape(shape, width, offset):
    x, residual, weight = tensors((*shape, width), (*shape, width), (width,))
    y, total = add_layer_norm(x + offset, residual, weight)
    exact, whole = norm_reference(x + offset, weight, residual=residual, precision=torch.float64)
    torch.testing.assert_close(y.double(), exact, atol=1e-2 if width < 4 else 2e-4, rtol=1e-4)
    torch.testing.assert_close(total.double(), whole, atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4, 1e6, -3e7])
@pytest.mark.parametrize("width", [48, 257, 4096])
def test_rows_far_from_zero(target, width, offset):
    """At least as close to float64 as torch is."""
    (noise,) = tensors((5, width))
    x = noise * max(1.0, abs(offset) * 1e-4) + offset
    exact = torch.layer_norm(x.double(), (width,))
    ours = run_norm(True, False, x, None, None, 1e-5, None, None, None, target)[0]
    theirs = torch.layer_norm(x, (width,))
    error = (ours - exact).abs().max()
    assert error <= max(1.5 * (theirs - exact).abs().max(), 2e-6)


def test_one_value_far_from_the_others():
    x = torch.ones(1, 1000)
    x[0, 0] = 1e6
    torch.testing.assert_close(
        layer_norm(x, residual=torch.zeros_like(x)), torch.layer_norm(x.double(), (1000,)).float()
    )


def test_constant_rows_become_zero():
    x = torch.full((3, 100), 1234.567)
    assert (run_norm(True, False, x, None, None, 1e-5, None, None, None)[0] == 0).all()


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_infinity_and_nan(target, value):
    x, weight = tensors((5, 50), (50,))
    x[2, 7], x[3, 49] = value, value
    y = run_norm(True, False, x, weight, None, 1e-5, None, None, None, target)[0]
    theirs = torch.layer_norm(x, (50,), weight)
    torch.testing.assert_close(y, theirs, equal_nan=True)
    y = run_norm(False, False, x, weight, None, 1e-5, None, None, None, target)[0]
    theirs = torch.rms_norm(x, (50,), weight, 1e-5)
    torch.testing.assert_close(y, theirs, equal_nan=True)


@pytest.mark.parametrize("offset", range(1, 5))
def test_alignment(target, offset):
    (memory,) = tensors((2000,))
    x = memory[offset : offset + 9 * 47].view(9, 47)
    part = memory[offset : offset + 47]
    check(x, part, part, x, target=target, summed=True)


def test_strided_operands():
    x, residual, weight = tensors((20, 80), (60, 40), (80,))
    check(x[:, 10:50], weight[::2], residual=residual[::3], summed=True)
    check(x.T, residual=x.T)
    check(x[:, ::2], weight[:40])
    check(x[:1].expand(20, 80)[:, :40], weight[40:])
    check(x.view(2, 5, 2, 80)[:, :, 0, :40], residual=residual[:10].view(2, 5, 40))
    check(x[3])


@pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5), (2, 0), (0,)])
def test_zero_sizes(shape):
    (x,) = tensors(shape)
    assert layer_norm(x).shape == shape
    y, total = add_rms_norm(x.bfloat16(), x, out_dtype=torch.bfloat16)
    assert (y.dtype, total.dtype, total.shape) == (torch.bfloat16, torch.float32, shape)


def test_public_functions_are_what_they_say():
    x, residual, weight, bias = tensors((4, 300), (4, 300), (300,), (300,))
    torch.testing.assert_close(
        layer_norm(x, weight, bias, 1e-3), torch.layer_norm(x, (300,), weight, bias, 1e-3)
    )
    torch.testing.assert_close(
        layer_norm(x, weight, bias, 1e-3, residual, "relu"),
        torch.relu(torch.layer_norm(x + residual, (300,), weight, bias, 1e-3)),
    )
    torch.testing.assert_close(rms_norm(x, weight), torch.rms_norm(x, (300,), weight, 1e-6))
    y, total = add_layer_norm(x, residual, weight)
    assert torch.equal(total, x + residual)
    torch.testing.assert_close(y, torch.layer_norm(total, (300,), weight))
    y, total = add_rms_norm(x.bfloat16(), residual)
    assert (y.dtype, total.dtype) == (torch.float32, torch.float32)


def test_large_results_are_streamed(threads, monkeypatch):
    monkeypatch.setattr(spec, "_WORTH_STREAMING", 1 << 20)
    assert spec.streams(1 << 20, 768, host().lanes)
    assert not spec.streams(1 << 20, 769, host().lanes)
    assert not spec.streams((1 << 20) - 1, 768, host().lanes)
    x, residual, weight = tensors((701, 768), (701, 768), (768,))
    y, total = add_layer_norm(x, residual, weight)
    torch.testing.assert_close(y, torch.layer_norm(x + residual, (768,), weight))
    assert torch.equal(total, x + residual)


X = torch.ones(3, 4)
REFUSED = {
    "dtype": ({"x": X.double()}, "`x` of float32 or bfloat16, got torch.float64"),
    "scalar": ({"x": torch.tensor(1.0)}, r"`x` of shape \(..., width\), got \(\)"),
    "weight": ({"weight": torch.ones(3)}, r"`weight` of shape \(4,\), got \(3,\)"),
    "bias dtype": ({"bias": torch.ones(4).half()}, "`bias` of float32 .*, got torch.float16"),
    "bias device": ({"bias": torch.ones(4, device="meta")}, "`bias` on cpu, got meta"),
    "residual": ({"residual": torch.ones(4)}, r"`residual` of shape \(3, 4\), got \(4,\)"),
    "activation": ({"activation": "softplus"}, "an activation of .*, got 'softplus'"),
    "out": ({"out_dtype": torch.float64}, "`out_dtype` of float32 .*, got torch.float64"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    arguments, message = REFUSED[case]
    with pytest.raises(InputError, match=f"expected {message}"):
        layer_norm(**{"x": X, **arguments})
