"""Weights of 4 and 8 bits with activations that are not quantized to 8."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.kernels import gemm, int8
from deepseek.kernels.gemm.spec import ACTIVATIONS
from deepseek.kernels.target import KNOWN, host, runs_here

TAILS = [1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257]
DTYPES = [torch.float32, torch.bfloat16]
KINDS = [
    *((8, group, False) for group in (32, 64, 128)),
    *((4, group, zeros) for group in (32, 64, 128) for zeros in (False, True)),
]
SOME = [(8, 32, False), (4, 32, True), (4, 64, False)]
RUNNABLE = [host(), *(target for target in KNOWN.values() if runs_here(target))]


def operands(m, n, k, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, k, generator=generator).to(dtype), torch.randn(n, k, generator=generator)


def check(x, quantized, bits, target=None, **epilogue):
    """Compare with the reference; the error may grow with the products' magnitudes."""
    packed = int8.pack_groups(quantized, bits, target)
    out = torch.empty(*x.shape[:-1], quantized.integers.shape[0])
    y = int8.linear_weight_only(x, packed, out=out, **epilogue)
    expected = int8.quantized_linear_reference(x, quantized, "blocks", **epilogue)
    # Of 4 bits the zero points' share, up to 8 times the weights, is taken off a group's sum.
    scale = x.float().abs() @ (quantized.numbers().abs() + 8 * _steps(quantized)).T + 1e-3
    error = (y - expected).abs() / scale
    assert y is out
    assert error.numel() == 0 or error.max() <= 2.0**-20
    return y


def _steps(quantized):
    wide = quantized.scales.float().repeat_interleave(quantized.group_size, dim=1)
    return wide[:, : quantized.integers.shape[1]]


def check_tails(target, which, rows):
    kinds = itertools.cycle(SOME[:2])
    for m, n in itertools.product(rows, TAILS):
        if m in (1, 9) or n == 49:
            bits, group, zeros = next(kinds)
            x, weight = operands(m, n, 33)
            check(x, int8.quantize_groups(weight, bits, group, zeros=zeros), bits, target)
    for k, (bits, group, zeros) in itertools.product(TAILS, which):
        x, weight = operands(3, 49, k, DTYPES[k % 2])
        check(x, int8.quantize_groups(weight, bits, group, zeros=zeros), bits, target)


def check_integers(target, which):
    """Whole numbers with scales of one: nothing is rounded, so every bit of the sums shows."""
    generator = torch.Generator().manual_seed(0)
    for (bits, group, zeros), m in itertools.product(which, (1, 3)):
        n, k = 49, 2 * group + 5
        low, high = (-128, 128) if bits == 8 else (0, 16) if zeros else (-8, 8)
        x = torch.randint(-40, 41, (m, k), generator=generator)
        x[:, ::group] = 32767  # each group's scale is then 1
        weight = torch.randint(low, high, (n, k), generator=generator)
        weight[:, ::7] = low
        points = torch.randint(0, 16, (n, 3), generator=generator) if zeros else None
        quantized = int8.QuantizedWeight(
            integers=weight.to(torch.int8), scales=torch.ones(n, 3), zeros=points, group_size=group
        )
        y = int8.linear_weight_only(x.float(), int8.pack_groups(quantized, bits, target))
        assert torch.equal(y.double(), x.double() @ quantized.numbers().double().T)


def check_extremes(target, which):
    """Sums of a group at their greatest, where 16 and 24 bits are far from enough."""
    for bits, group, zeros in which:
        low, high = (-128, 127) if bits == 8 else (0, 15) if zeros else (-8, 7)
        for value, sign in itertools.product((low, high), (1.0, -1.0)):
            quantized = int8.QuantizedWeight(
                integers=torch.full((17, group), value, dtype=torch.int8),
                scales=torch.ones(17, 1),
                zeros=torch.full((17, 1), 15.0) if zeros else None,
                group_size=group,
            )
            x = torch.full((3, group), sign * 32767.0)
            check(x, quantized, bits, target)


def test_every_kind():
    check_tails(host(), KINDS, TAILS)
    check_integers(host(), KINDS)
    check_extremes(host(), KINDS)


def test_every_target(target):
    check_tails(target, SOME, (1, 9))
    check_integers(target, SOME)
    check_extremes(target, SOME)


def test_elsewhere(foreign):
    check_tails(foreign, SOME, (1, 9))
    check_integers(foreign, SOME)
    check_extremes(foreign, SOME)


@pytest.mark.parametrize("kind", SOME, ids=str)
@pytest.mark.parametrize("m", [1, 6, 50])
def test_many_groups(threads, m, kind):
    bits, group, zeros = kind
    x, weight = operands(m, 130, 4100)
    check(x, int8.quantize_groups(weight, bits, group, zeros=zeros), bits)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    m=st.integers(0, 30),
    n=st.integers(0, 120),
    k=st.integers(0, 300),
    dtype=st.sampled_from(DTYPES),
    kind=st.sampled_from(SOME),
    target=st.sampled_from(RUNNABLE),
)
def test_any_shape(m, n, k, dtype, kind, target):
    bits, group, zeros = kind
    x, weight = operands(m, n, k, dtype)
    check(x, int8.quantize_groups(weight, bits, group, zeros=zeros), bits, target)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_epilogues(activation):
    x, weight = operands(7, 50, 65)
    quantized = int8.quantize_groups(weight, 4, 32)
    bias, residual, multiply = torch.randn(50), torch.randn(7, 50), torch.randn(7, 50).bfloat16()
    extra = {"bias": bias, "residual": residual, "multiply": multiply}
    y = int8.linear_weight_only(x, int8.pack_groups(quantized, 4), activation=activation, **extra)
    expected = int8.quantized_linear_reference(
        x, quantized, "blocks", activation=activation, **extra
    )
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-4)


def test_result_has_the_dtype_of_the_activations():
    x, weight = operands(7, 50, 65, torch.bfloat16)
    packed = int8.pack_weight_only(weight)
    y = int8.linear_weight_only(x, packed)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), x.float() @ packed.unpack().T, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_activations_keep_16_bits(dtype):
    """Against products with the unrounded activations: -90 dB, where 8 bits would leave -40."""
    x, weight = operands(50, 60, 1000, dtype)
    packed = int8.pack_weight_only(weight, 4, 128)
    exact = x.double() @ packed.unpack().double().T
    y = int8.linear_weight_only(x, packed, out=torch.empty(50, 60))
    assert 20 * ((y - exact).norm() / exact.norm()).log10() < -90


def test_strided_operands():
    x, weight = operands(20, 30, 80)
    packed = int8.pack_weight_only(weight[:, :40], 4, 32)
    for form in (x[:, 10:50], x[:, ::2], x.T[:40].T, x[:1].expand(20, 80)[:, :40], x[3, :40]):
        y = int8.linear_weight_only(form, packed)
        torch.testing.assert_close(y, form @ packed.unpack().T, rtol=1e-3, atol=1e-3)


def test_out_may_be_an_operand():
    x, weight = operands(20, 80, 80)
    packed = int8.pack_weight_only(weight, 8, 32)
    expected = x @ packed.unpack().T * x + x
    assert int8.linear_weight_only(x, packed, residual=x, multiply=x, out=x) is x
    torch.testing.assert_close(x, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_row_that_is_not_finite_is_nan(target, value):
    x, weight = operands(9, 30, 200)
    packed = int8.pack_weight_only(weight, 4, 64, target=target)
    expected = int8.linear_weight_only(x, packed)
    x[4, 3] = value
    y = int8.linear_weight_only(x, packed)
    assert y[4].isnan().all()
    others = [row for row in range(9) if row != 4]
    assert torch.equal(y[others], expected[others])


@pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5), (2, 0), (0, 0)])
def test_zero_sizes(shape):
    bias = torch.randn(4)
    for bits in (4, 8):
        packed = int8.pack_weight_only(torch.ones(4, shape[-1]), bits, 32)
        y = int8.linear_weight_only(torch.ones(shape), packed, bias)
        expected = torch.nn.functional.linear(torch.ones(shape), torch.ones(4, shape[-1]), bias)
        torch.testing.assert_close(y, expected, rtol=1e-2, atol=1e-2)
    none = int8.pack_weight_only(torch.ones(0, 3))
    assert int8.linear_weight_only(torch.ones(2, 3), none).shape == (2, 0)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("known", ["haswell", "znver4", "x86-64", "neoverse-n1"])
def test_unpacking_returns_the_numbers(known, kind):
    bits, group, zeros = kind
    for n, k in ((1, 1), (50, 257), (16, 128)):
        quantized = int8.quantize_groups(operands(1, n, k)[1], bits, group, zeros=zeros)
        packed = int8.pack_groups(quantized, bits, KNOWN[known])
        assert torch.equal(packed.unpack(), quantized.numbers())


@pytest.mark.parametrize(
    ("kind", "decibels"),
    [((8, 128, False), 43), ((4, 128, False), 18.5), ((4, 32, False), 20.3), ((4, 32, True), 20.5)],
)
def test_what_quantizing_loses(kind, decibels):
    """Signal to noise of normally distributed weights, in dB."""
    bits, group, zeros = kind
    weight = operands(1, 200, 1024)[1]
    numbers = int8.quantize_groups(weight, bits, group, zeros=zeros).numbers()
    assert 20 * (weight.norm() / (weight - numbers).norm()).log10() > decibels


def test_zero_points_serve_one_sided_weights():
    weight = operands(1, 100, 512)[1].abs()
    lost = [
        (weight - int8.quantize_groups(weight, 4, 64, zeros=zeros).numbers()).norm()
        for zeros in (False, True)
    ]
    assert lost[1] < 0.6 * lost[0]


def test_groups_of_zeros():
    for zeros in (False, True):
        packed = int8.pack_weight_only(torch.zeros(5, 64), 4, 32, zeros=zeros)
        assert not int8.linear_weight_only(torch.ones(2, 64), packed).any()


def test_one_scale_a_row_counts_for_all_groups():
    weight = torch.randint(-128, 128, (20, 300), dtype=torch.int8)
    scales = torch.rand(20, 1)
    quantized = int8.QuantizedWeight(integers=weight, scales=scales, zeros=None, group_size=128)
    assert torch.equal(int8.pack_groups(quantized, 8).unpack(), weight.float() * scales)


REFUSED = {
    "bits": ((torch.ones(2, 3), 3), "4 or 8 bits, got 3"),
    "group": ((torch.ones(2, 3), 4, 48), r"a group size of \(32, 64, 128\), got 48"),
    "dimensions": ((torch.ones(3),), "two dimensions, got .* of shape"),
    "dtype": ((torch.ones(2, 3).int(),), "floating-point weight .* got torch.int32"),
    "nan": ((torch.tensor([[float("nan")]]),), "finite numbers"),
    "infinity": ((torch.tensor([[float("inf")]]),), "finite numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_weight_that_does_not_fit_is_refused(error, case):
    arguments, message = REFUSED[case]
    with pytest.raises(error, match=f"expected .*{message}"):
        int8.pack_weight_only(*arguments)


def test_zero_points_of_8_bits_are_refused(error):
    with pytest.raises(error, match="no zero points at 8 bits"):
        int8.pack_weight_only(torch.ones(2, 3), 8, zeros=True)


def test_groups_that_do_not_fit_are_refused(error):
    def groups(integers, scales, zeros=None):
        return int8.QuantizedWeight(integers=integers, scales=scales, zeros=zeros, group_size=32)

    whole = torch.zeros(3, 64, dtype=torch.int8)
    with pytest.raises(error, match=r"scales of \(3, 2\), got \(3, 3\)"):
        int8.pack_groups(groups(whole, torch.ones(3, 3)), 4)
    with pytest.raises(error, match=r"zeros of \(3, 2\), got \(2, 2\)"):
        int8.pack_groups(groups(whole, torch.ones(3, 2), torch.ones(2, 2)), 4)
    with pytest.raises(error, match="integers from -8 to 7"):
        int8.pack_groups(groups(whole + 8, torch.ones(3, 2)), 4)
    with pytest.raises(error, match="integers from 0 to 15"):
        int8.pack_groups(groups(whole - 1, torch.ones(3, 2), torch.ones(3, 2)), 4)
    with pytest.raises(error, match=r"a weight of torch\.int8"):
        int8.pack_groups(groups(whole.int(), torch.ones(3, 2)), 8)


def test_weight_of_another_kind_is_refused(error):
    with pytest.raises(error, match="a weight from pack_weight_only"):
        int8.linear_weight_only(torch.ones(3, 4), gemm.pack_weight(torch.ones(5, 4)))
