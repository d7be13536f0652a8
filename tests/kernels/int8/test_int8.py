"""int8 by int8: exact sums on every processor, and what is done to them."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.kernels import gemm, int8
from deepseek.kernels.gemm.spec import ACTIVATIONS
from deepseek.kernels.target import KNOWN, host, runs_here
from deepseek.nn.int8_arithmetic import int8_linear, weight_sums

TAILS = [1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257]
DTYPES = [torch.float32, torch.bfloat16]
ROUNDINGS = ["symmetric", "asymmetric"]
RUNNABLE = [host(), *(target for target in KNOWN.values() if runs_here(target))]


def operands(m, n, k, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, k, generator=generator).to(dtype)
    weight = torch.randint(-128, 128, (n, k), dtype=torch.int8, generator=generator)
    return x, weight, torch.rand(n, generator=generator) / 100


def reference(x, weight, scales, rounding="symmetric", **epilogue):
    quantized = int8.QuantizedWeight(
        integers=weight, scales=scales[:, None], zeros=None, group_size=weight.shape[1]
    )
    return int8.quantized_linear_reference(x, quantized, rounding, **epilogue)


def check(x, weight, scales, rounding="symmetric", target=None):
    """Every bit: exact sums leave nothing but the two roundings of the scales, done alike."""
    packed = int8.pack_int8(weight, scales, rounding, target)
    out = torch.empty(*x.shape[:-1], weight.shape[0])
    y = int8.linear_int8(x, packed, out=out)
    assert y is out
    assert torch.equal(y, reference(x, weight, scales, rounding))


def check_tails(target):
    for m, n in itertools.product(TAILS, TAILS):
        if m in (1, 9) or n == 49:
            check(*operands(m, n, 33), ROUNDINGS[(m + n) % 2], target)
    for k, rounding in itertools.product(TAILS, ROUNDINGS):
        check(*operands(9, 49, k, DTYPES[k % 2]), rounding, target)


def check_extremes(target):
    """The greatest sums of either sign, and pairs of products that 16 bits could not hold."""
    for k, low, high in itertools.product((2, 4, 31, 800), (-1.0, 1.0), (-128, -127, 127)):
        x = torch.full((7, k), low)
        x[::2, ::2] *= -1  # -128 and 127 in turns
        weight = torch.full((17, k), high, dtype=torch.int8)
        weight[::3, ::2] = -128
        for rounding in ROUNDINGS:
            check(x, weight, torch.ones(17), rounding, target)


def test_tails(target):
    check_tails(target)


def test_extremes(target):
    check_extremes(target)


def test_tails_elsewhere(foreign):
    check_tails(foreign)


def test_extremes_elsewhere(foreign):
    check_extremes(foreign)


def test_longest_sums(target):
    """255 * -128 * 65793 is the last that 32 bits hold."""
    k = 65793
    weight = torch.full((3, k), -128, dtype=torch.int8)
    for x in (torch.ones(1, k), -torch.ones(2, k)):
        for rounding in ROUNDINGS:
            check(x, weight, torch.ones(3), rounding, target)


@pytest.mark.parametrize("k", [1536, 1537, 3073])
@pytest.mark.parametrize("m", [1, 6, 50, 200])
def test_blocks_of_k(target, threads, m, k):
    check(*operands(m, 130, k), ROUNDINGS[m % 4 // 2], target)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    m=st.integers(0, 70),
    n=st.integers(0, 120),
    k=st.integers(0, 150),
    dtype=st.sampled_from(DTYPES),
    rounding=st.sampled_from(ROUNDINGS),
    target=st.sampled_from(RUNNABLE),
)
def test_any_shape(m, n, k, dtype, rounding, target):
    check(*operands(m, n, k, dtype), rounding, target)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("with_bias", [False, True])
def test_is_int8_linear(target, dtype, with_bias):
    """What :class:`deepseek.nn.Int8Linear` computes, bit for bit."""
    x, weight, scales = operands(60, 70, 200, dtype)
    bias = torch.randn(70).to(dtype) if with_bias else None
    for rounding in ROUNDINGS:
        y = int8.linear_int8(x, int8.pack_int8(weight, scales, rounding, target), bias)
        sums = None if rounding == "symmetric" else weight_sums(weight)
        expected = int8_linear(x, weight, scales[:, None], bias, sums)
        assert y.dtype == dtype
        assert torch.equal(y, expected)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("given_", list(itertools.product([False, True], repeat=3)), ids=str)
def test_epilogues(activation, given_):
    x, weight, scales = operands(37, 50, 65)
    generator = torch.Generator().manual_seed(1)
    names = ("bias", "residual", "multiply")
    shapes = ((50,), (37, 50), (37, 50))
    for dtype in DTYPES:
        chosen = {
            name: torch.randn(shape, generator=generator).to(dtype)
            for name, shape, use in zip(names, shapes, given_, strict=True)
            if use
        }
        y = int8.linear_int8(x, int8.pack_int8(weight, scales), activation=activation, **chosen)
        expected = reference(x, weight, scales, activation=activation, **chosen)
        torch.testing.assert_close(y, expected, rtol=2e-6, atol=2e-5)


def test_strided_operands():
    x, weight, scales = operands(20, 30, 80)
    packed = int8.pack_int8(weight[:, :40], scales)
    assert torch.equal(packed.unpack(), weight[:, :40].float() * scales[:, None])
    residual, multiply = torch.randn(60, 40)[::3, 5:35], torch.randn(30, 20).T
    bias = torch.randn(60)[::2]
    for form in (x[:, 10:50], x[:, ::2], x.T[:40].T, x[:1].expand(20, 80)[:, :40]):
        extra = {"residual": residual, "multiply": multiply, "bias": bias}
        y = int8.linear_int8(form, packed, **extra)
        torch.testing.assert_close(y, reference(form, weight[:, :40], scales, **extra))
    form = x.view(2, 5, 2, 80)[:, :, 0, :40]
    assert torch.equal(int8.linear_int8(form, packed), reference(form, weight[:, :40], scales))
    assert torch.equal(
        int8.linear_int8(x[3, :40], packed), reference(x[3, :40], weight[:, :40], scales)
    )


@pytest.mark.parametrize("offset", range(1, 5))
def test_alignment(target, offset):
    memory, (_, weight, scales) = torch.randn(2000), operands(1, 33, 47)
    x = memory[offset : offset + 9 * 47].view(9, 47)
    packed = int8.pack_int8(weight, scales, target=target)
    out = torch.empty(1000)[offset : offset + 9 * 33].view(9, 33)
    assert torch.equal(int8.linear_int8(x, packed, out=out), reference(x, weight, scales))


def test_writes_nothing_but_its_result(target):
    x, weight, scales = operands(13, 50, 31)
    memory = torch.full((15, 64), 7.0)
    int8.linear_int8(x, int8.pack_int8(weight, scales, target=target), out=memory[1:14, 5:55])
    memory[1:14, 5:55] = 7.0
    assert (memory == 7.0).all()


def test_out_may_be_an_operand():
    x, weight, scales = operands(200, 300, 300)
    expected = reference(x, weight, scales, residual=x, multiply=x)
    packed = int8.pack_int8(weight, scales)
    y = int8.linear_int8(x, packed, residual=x, multiply=x, out=x)
    assert y is x
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5), (2, 0), (0, 0)])
def test_zero_sizes(shape):
    weight, bias = torch.ones(4, shape[-1], dtype=torch.int8), torch.randn(4)
    for rounding in ROUNDINGS:
        packed = int8.pack_int8(weight, torch.ones(4), rounding)
        y = int8.linear_int8(torch.randn(shape), packed, bias, "relu")
        torch.testing.assert_close(y, bias.relu().expand(*shape[:-1], 4))
    none = int8.pack_int8(torch.ones(0, 3, dtype=torch.int8), torch.ones(0))
    assert int8.linear_int8(torch.ones(2, 3), none).shape == (2, 0)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_row_that_is_not_finite_is_nan(target, rounding, value):
    x, weight, scales = operands(9, 30, 20)
    expected = reference(x, weight, scales, rounding)
    x[4, 3] = value
    y = int8.linear_int8(x, int8.pack_int8(weight, scales, rounding, target))
    assert y[4].isnan().all()
    others = [row for row in range(9) if row != 4]
    assert torch.equal(y[others], expected[others])


def test_threads_do_not_change_the_result():
    x, weight, scales = operands(200, 300, 1000)
    packed, before = int8.pack_int8(weight, scales), torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(int8.linear_int8(x, packed))
    torch.set_num_threads(before)
    assert torch.equal(*results)


def test_four_python_threads(wrong_calls):
    x, weight, scales = operands(37, 70, 100)
    packed = int8.pack_int8(weight, scales)
    expected = int8.linear_int8(x, packed)
    assert wrong_calls(250, lambda: int8.linear_int8(x, packed), expected) == []


def test_the_general_function_takes_it_too():
    x, weight, scales = operands(9, 30, 20)
    packed = int8.pack_int8(weight, scales)
    assert torch.equal(gemm.linear(x, packed), int8.linear_int8(x, packed))


W, S = torch.ones(5, 4, dtype=torch.int8), torch.ones(5)
REFUSED = {
    "dimensions": ((W[0], S), "a weight of torch.int8 with two dimensions, got .* shape"),
    "dtype": ((W.float(), S), "a weight of torch.int8 .* got torch.float32"),
    "depth": ((torch.ones(1, 65794, dtype=torch.int8), S[:1]), "at most 65793 columns, got 65794"),
    "scales": ((W, S[:4]), r"scales of shape \(5,\) or \(5, 1\), got .* of \(4,\)"),
    "scale dtype": ((W, S.int()), "floating-point scales .* got torch.int32"),
    "rounding": ((W, S, "blocks"), "a rounding of .*, got 'blocks'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_weight_that_does_not_fit_is_refused(error, case):
    arguments, message = REFUSED[case]
    with pytest.raises(error, match=f"expected .*{message}"):
        int8.pack_int8(*arguments)


def test_operands_that_do_not_fit_are_refused(error):
    packed = int8.pack_int8(W, S)
    with pytest.raises(error, match=r"`x` of shape \(..., 4\), got \(3, 5\)"):
        int8.linear_int8(torch.ones(3, 5), packed)
    with pytest.raises(error, match=r"`x` of float32 or bfloat16, got torch\.float16"):
        int8.linear_int8(torch.ones(3, 4).half(), packed)
    with pytest.raises(error, match="`out` of shape"):
        int8.linear_int8(torch.ones(3, 4), packed, out=torch.ones(3, 4))
    with pytest.raises(error, match="a weight from pack_int8"):
        int8.linear_int8(torch.ones(3, 4), gemm.pack_weight(torch.ones(5, 4)))
