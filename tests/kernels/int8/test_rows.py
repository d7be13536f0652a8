"""Activations as integers: bit for bit what the formulas say."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.kernels import int8
from deepseek.kernels.gemm.quantize import row_pitch, row_quantizer
from deepseek.kernels.gemm.spec import FORMATS, HEADER, LEAD
from deepseek.kernels.target import host
from deepseek.nn.int8_arithmetic import quantize_tokens

TAILS = [1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257]
DTYPES = [torch.float32, torch.bfloat16]
ROUNDINGS = ["symmetric", "asymmetric"]


def activations(*shape, dtype=torch.float32, seed=0):
    """Numbers of many magnitudes, rows that lie on either side of zero among them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator)
    x = x * 10.0 ** torch.randint(-6, 6, (*shape[:-1], 1), generator=generator)
    x[..., ::3, :] += x[..., ::3, :].abs().amax(-1, keepdim=True)
    return x.to(dtype)


def check(x, rounding, target=None):
    integers, scales, zeros = int8.quantize_rows(x, rounding, target)
    expected = int8.quantize_rows_reference(x, rounding)
    broken = ~x.isfinite().all(-1, keepdim=True)
    assert torch.equal(scales.isnan(), broken)
    whole = ~broken
    assert torch.equal(scales[whole], expected[1][whole])
    assert torch.equal(zeros[whole], expected[2][whole])
    keep = whole.expand(x.shape)
    assert torch.equal(integers[keep].int(), expected[0][keep])
    assert integers.dtype == torch.int8


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_tails(target, rounding, dtype):
    for rows, k in itertools.product([1, 9], TAILS):
        check(activations(rows, k, dtype=dtype, seed=k), rounding, target)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_is_the_arithmetic_of_int8_linear(target, threads, dtype):
    x = activations(500, 301, dtype=dtype)
    x[7] = 0.0
    for rounding in ROUNDINGS:
        integers, scales, zeros = int8.quantize_rows(x, rounding, target)
        expected = quantize_tokens(x, symmetric=rounding == "symmetric")
        assert torch.equal(integers, expected[0])
        assert torch.equal(scales, expected[1].float())
        assert torch.equal(zeros, torch.zeros_like(zeros) if expected[2] is None else expected[2])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    row=st.lists(st.floats(width=32), min_size=1, max_size=40),
    dtype=st.sampled_from(DTYPES),
    rounding=st.sampled_from(ROUNDINGS),
)
def test_any_row(row, dtype, rounding):
    """Subnormal numbers, the greatest numbers, zeros of both signs, NaN and infinities too."""
    check(torch.tensor([row]).to(dtype), rounding)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_halves_go_to_the_even_neighbour(target, rounding):
    top = {"symmetric": 127.5, "asymmetric": 255.0}[rounding]
    x = torch.cat([torch.arange(-9.5, 10.0), torch.tensor([top, 126.5, 0.0])])[None]
    x = x if rounding == "symmetric" else x.abs()
    integers, scales, zeros = int8.quantize_rows(x, rounding, target)
    assert scales.item() == 1.0
    assert zeros.item() == (0 if rounding == "symmetric" else -128)
    assert torch.equal(integers.float(), (x.round() + zeros).clamp(max=127))


def test_the_lowest_integer_is_used(target):
    integers, _, _ = int8.quantize_rows(torch.tensor([[-3.0, 3.0, 0.0]]), "symmetric", target)
    assert integers.tolist() == [[-128, 127, 0]]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("value", [float("nan"), -float("nan"), float("inf"), -float("inf")])
def test_a_row_that_is_not_finite_has_no_scale(target, rounding, value):
    for place in (0, 5, 18):
        x = activations(4, 19)
        x[2, place] = value
        _, scales, _ = int8.quantize_rows(x, rounding, target)
        assert scales.isnan().flatten().tolist() == [False, False, True, False]


def test_any_strides():
    x = activations(12, 40)
    for form in (x[:, 3:30], x.T, x[::2], x[:, ::3], x[:1].expand(5, 40), x.view(3, 4, 40), x[0]):
        check(form, "symmetric")


def test_no_rows_and_no_columns():
    for shape in ((0, 5), (3, 0, 4), (0,)):
        integers, scales, _ = int8.quantize_rows(torch.empty(shape))
        assert integers.shape == shape
        assert scales.shape == (*shape[:-1], 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["w4g32", "w8g128"])
def test_groups_of_16_bits(target, name, dtype):
    """What the products with 4- and 8-bit weights read, header by header."""
    scheme = FORMATS[name]
    for k in (1, 33, 128, 300):
        x = activations(5, k, dtype=dtype, seed=k)
        memory, pitch = row_quantizer(target, scheme, "blocks", x, k)(x), row_pitch(scheme, k)
        packed = memory[: len(x) * pitch].view(len(x), pitch)[:, LEAD:]
        integers, scales, _ = int8.quantize_rows_reference(x, "blocks", scheme.group)
        groups = scales.shape[1]
        size = HEADER + 2 * scheme.group
        stored = packed[:, : groups * size].reshape(5, groups, size)
        assert torch.equal(stored[..., :4].contiguous().view(torch.float32)[..., 0], scales)
        values = stored[..., HEADER:].contiguous().view(torch.int16).view(5, -1)
        assert torch.equal(values[:, :k].int(), integers)
        assert not values[:, k:].any()
        sums = stored[..., 4:8].contiguous().view(torch.float32)[..., 0]
        assert torch.equal(sums.int(), values.view(5, groups, -1).sum(-1, dtype=torch.int32))


@pytest.mark.parametrize(
    ("x", "rounding", "message"),
    [
        (torch.ones(3), "nearest", "a rounding of .*, got 'nearest'"),
        (torch.ones(3), "blocks", "a rounding of"),
        (torch.ones(3).double(), "symmetric", "got torch.float64"),
        (torch.tensor(1.0), "symmetric", r"shape \(..., K\)"),
        (torch.ones(3, device="meta"), "symmetric", "on the CPU, got meta"),
    ],
)
def test_what_does_not_fit_is_refused(error, x, rounding, message):
    with pytest.raises(error, match=message):
        int8.quantize_rows(x, rounding)


def test_reference_refuses_unknown_roundings(error):
    with pytest.raises(error, match="a rounding of"):
        int8.quantize_rows_reference(torch.ones(3), "nearest")


def test_of_the_process_unless_a_target_is_given(monkeypatch):
    x = activations(3, 20)
    expected = int8.quantize_rows(x)
    monkeypatch.setenv(
        "DEEPSEEK_TARGET", "x86-64" if host().architecture == "x86_64" else "aarch64"
    )
    for ours, theirs in zip(int8.quantize_rows(x), expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("rounding", ["symmetric", "asymmetric"])
def test_results_outlive_the_next_call(rounding):
    x = torch.randn(1, 33)
    results = int8.quantize_rows(x, rounding)
    before = [result.clone() for result in results]
    int8.quantize_rows(7.5 * torch.randn(1, 33), rounding)
    assert all(map(torch.equal, results, before))
