"""Kernels against torch's own operators, one after the other."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from deepseek.compiler.pointwise import Pointwise
from deepseek.compiler.pointwise import groups as groups_module
from deepseek.kernels.target import host

FP32, BF16, I64, I32, BOOL = torch.float32, torch.bfloat16, torch.int64, torch.int32, torch.bool
INF, NAN = float("inf"), float("nan")
SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 1e30]
TAILS = [1, 7, 8, 15, 16, 17, 31, 33, 100, 257]


@pytest.fixture
def alone(monkeypatch):
    """Fuse single operators too, whether or not that pays."""
    monkeypatch.setattr(groups_module, "pays", lambda group: bool(group[-1].meta["val"].dim()))


def numbers(shape, dtype=FP32, seed=0, special=False):
    generator = torch.Generator().manual_seed(seed)
    if dtype == BOOL:
        return torch.rand(shape, generator=generator) > 0.5
    if dtype in (I64, I32):
        return torch.randint(-9, 9, shape, generator=generator).to(dtype)
    x = 2 * torch.randn(shape, generator=generator)
    if special and x.numel() >= len(SPECIAL):
        x.view(-1)[-len(SPECIAL) :] = torch.tensor(SPECIAL)
    return x.to(dtype)


def same(ours, theirs):
    """Equal in every bit that matters: NaN is NaN, and 0.0 is -0.0."""
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


# Operators that are correctly rounded, so that every bit is torch's.
UNARY = {
    "neg": torch.neg, "abs": torch.abs, "sqrt": torch.sqrt, "relu": torch.relu,
    "square": torch.square, "reciprocal": torch.reciprocal, "cube": lambda x: x**3,
    "inverse square": lambda x: x**-2, "add": lambda x: x + 0.1234567,
    "rsub": lambda x: 0.1234567 - x, "mul": lambda x: x * 0.1234567, "div": lambda x: x / 3,
    "clamp": lambda x: x.clamp(-0.3, 2), "clamp below": lambda x: x.clamp(min=-1),
    "leaky": lambda x: functional.leaky_relu(x, 0.1), "relu6": functional.relu6,
    "fill": lambda x: x.masked_fill(x > 0.5, -0.25), "equal": lambda x: x == 1,
    "less": lambda x: x < 0.7, "not": torch.logical_not, "to bf16": lambda x: x.bfloat16(),
    "to fp32": lambda x: x.float(), "to bool": lambda x: x.bool(), "add one": lambda x: x + 1,
}  # fmt: skip
BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
    "maximum": torch.maximum, "minimum": torch.minimum, "less": torch.lt, "at least": torch.ge,
    "differ": torch.ne, "and": torch.logical_and, "or": torch.logical_or,
    "where": lambda a, b: torch.where(a > 0, a, b),
    "where bool": lambda a, b: torch.where(b.bool(), a, -1.5),
    "fill": lambda a, b: a.masked_fill(b > 0, 0.0), "type": lambda a, b: a.type_as(b),
}  # fmt: skip
WHOLE = {
    "and": torch.bitwise_and, "or": torch.bitwise_or, "xor": lambda a, b: a ^ b,
    "not": lambda a, b: ~a | b,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_one_operator_of_one_operand(fused, alone, target, name):
    for dtype in (FP32, BF16, I64, I32, BOOL) if target == host() else (FP32, BF16):
        x = numbers((7, 13), dtype, special=True)
        try:
            expected = UNARY[name](x)
        except RuntimeError:  # torch has no such operator
            continue
        same(fused(UNARY[name], x, target=target)(x), expected)


@pytest.mark.parametrize("name", BINARY)
def test_one_operator_of_two_operands(fused, alone, name):
    dtypes = [FP32, BF16, I64, I32, BOOL]
    for a, b in itertools.product(dtypes, dtypes):
        x, y = numbers((7, 13), a, 0, special=True), numbers((7, 13), b, 1, special=True)
        try:
            expected = BINARY[name](x, y)
        except RuntimeError:
            continue
        same(fused(BINARY[name], x, y)(x, y), expected)


@pytest.mark.parametrize("name", WHOLE)
def test_bits(fused, alone, target, name):
    for dtype in (I64, I32, BOOL):
        x, y = numbers((7, 13), dtype, 0), numbers((7, 13), dtype, 1)
        same(fused(WHOLE[name], x, y, target=target)(x, y), WHOLE[name](x, y))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "less", "where"])
def test_a_tensor_without_dimensions_is_rounded_as_torch_does(fused, alone, name):
    for dtype, scalar in itertools.product([FP32, BF16, I64], [0.1234567, 3]):
        x, y = numbers((7, 13), dtype), torch.tensor(scalar)
        for operands in ((x, y), (y, x)):
            same(fused(BINARY[name], *operands)(*operands), BINARY[name](*operands))


SMOOTH = {
    "exp": torch.exp, "log": torch.log, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    "rsqrt": torch.rsqrt, "erf": torch.erf, "silu": functional.silu, "gelu": functional.gelu,
    "gelu tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "elu": lambda x: functional.elu(x, 0.7), "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid, "fourth power": lambda x: x**4,
    "seventh power": lambda x: x**7, "root": lambda x: x**0.5,
    "inverse root": lambda x: x**-0.5,
}  # fmt: skip
POSITIVE = ("log", "rsqrt", "root", "inverse root")
ABSOLUTE = {"gelu": 5e-7, "gelu tanh": 1e-6, "silu": 1e-6, "erf": 1e-12}


@pytest.mark.parametrize("name", SMOOTH)
def test_functions_are_close_to_float64(fused, alone, target, name):
    x = torch.linspace(1e-4 if name in POSITIVE else -9, 9, 20_003).view(83, 241)
    exact = SMOOTH[name](x.double())
    ours = fused(SMOOTH[name], x, target=target)(x)
    torch.testing.assert_close(ours.double(), exact, rtol=2e-6, atol=ABSOLUTE.get(name, 1e-12))


@pytest.mark.parametrize("name", SMOOTH)
def test_functions_of_bf16_are_torchs_within_one_unit(fused, alone, target, name):
    x = torch.linspace(1e-4 if name in POSITIVE else -5, 5, 4_000).view(40, 100).bfloat16()
    ours, theirs = fused(SMOOTH[name], x, target=target)(x), SMOOTH[name](x)
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize("name", SMOOTH)
def test_infinity_and_nan(fused, alone, target, name):
    x = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 100.0, -100.0] * 5).view(5, 7)
    exact = SMOOTH[name](x.double()).float()  # torch's fp32 GELU makes infinity NaN, its fp64 not
    ours = fused(SMOOTH[name], x, target=target)(x)
    torch.testing.assert_close(ours, exact, rtol=2e-6, atol=1e-37, equal_nan=True)


def chain(names, join):
    """Operators one after the other, the second operand taken in now and then."""

    def function(x, y):
        value = x
        for name in names:
            value = UNARY[name](value)
            if join in BINARY and name in ("add", "mul", "to bf16"):
                value = BINARY[join](value, y)
        return BINARY[join](value, y)

    return function


STEPS = [
    "neg", "abs", "relu", "square", "add", "rsub", "mul", "div", "clamp", "leaky", "fill",
    "equal", "less", "to bf16", "to fp32", "to bool", "add one",
]  # fmt: skip


@settings(max_examples=70, deadline=None, derandomize=True)
@given(
    names=st.lists(st.sampled_from(STEPS), min_size=1, max_size=7),
    join=st.sampled_from(["add", "mul", "maximum", "where bool", "less", "sub"]),
    dtypes=st.tuples(*[st.sampled_from([FP32, BF16, I64, BOOL])] * 2),
    shape=st.lists(st.integers(2, 9), min_size=1, max_size=3),
    broadcast=st.sampled_from(["none", "row", "column", "scalar", "transposed", "strided"]),
    width=st.integers(2, 40),
)
def test_any_chain(fused, names, join, dtypes, shape, broadcast, width):
    """Chains of correctly rounded operators, over layouts and dtypes: equal in every bit."""
    shape = [*shape, width]
    x = numbers(shape, dtypes[0], 0)
    y = {
        "none": lambda: numbers(shape, dtypes[1], 1),
        "row": lambda: numbers(shape[-1:], dtypes[1], 1),
        "column": lambda: numbers([*shape[:-1], 1], dtypes[1], 1),
        "scalar": lambda: numbers([], dtypes[1], 1),
        "transposed": lambda: numbers(shape[::-1], dtypes[1], 1).permute(
            *reversed(range(len(shape)))
        ),
        "strided": lambda: numbers([*shape[:-1], 2 * width], dtypes[1], 1)[..., ::2],
    }[broadcast]()
    function = chain(names, join)
    try:
        expected = function(x, y)
    except RuntimeError:
        return
    module = fused(function, x, y)
    ours = module(x, y)
    same(ours, expected)
    assert ours.stride() == expected.stride()


@pytest.mark.parametrize("dtype", [FP32, BF16], ids=str)
def test_tails_on_all_threads(fused, threads, target, dtype):
    def function(x, y):
        return torch.relu(x * y + 0.5) - x

    module = fused(function, numbers((3, 5), dtype), numbers((5,), dtype), target=target)
    for rows, width in itertools.product([1, 9], TAILS):
        x, y = numbers((rows, width), dtype), numbers((width,), dtype, 1)
        same(module(x, y), function(x, y))


def test_large_operands_on_all_threads(fused, threads):
    def function(x, row, column):
        return torch.tanh(x * row + column) * x

    x, row, column = numbers((700, 1000)), numbers((1000,)), numbers((700, 1))
    module = fused(function, x, row, column)
    torch.testing.assert_close(module(x, row, column), function(x, row, column))
    long = numbers((2, 300_000))
    torch.testing.assert_close(
        module(long, long[0], long[:, :1]), function(long, long[0], long[:, :1])
    )


@pytest.mark.parametrize("offset", range(1, 5))
def test_alignment(fused, offset):
    memory = numbers((2000,))
    x, y = memory[offset:][:423].view(9, 47), memory[offset:][:47]

    def function(x, y):
        return (x + y) * x

    same(fused(function, x, y)(x, y), function(x, y))


def test_numbers_of_the_graph_are_taken_at_run_time(fused):
    def function(x):
        return (x + x.shape[0]) * x.shape[1] / (x.shape[0] + 1)

    module = fused(function, numbers((4, 6)))
    assert len(module.kernels) == 1
    for shape in ((4, 6), (9, 31), (2, 257)):
        same(module(numbers(shape)), function(numbers(shape)))


def test_a_new_size_costs_no_compile(fused, monkeypatch):
    from deepseek.kernels import jit

    def function(x, row, column, mask):
        return torch.relu(x * row + column).masked_fill(mask, -1.0)

    def operands(batch, length, width):
        shape = (batch, length, width)
        return (
            numbers(shape), numbers((width,)), numbers((batch, length, 1)),
            numbers((batch, 1, width), BOOL),
        )  # fmt: skip

    module = fused(function, *operands(3, 4, 5))
    module(*operands(3, 4, 5))
    monkeypatch.setattr(jit, "_load", lambda *_: pytest.fail("compiled again"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        sizes = torch.randint(1, 40, (3,), generator=generator)
        given = operands(*(int(size) + (i == 2) for i, size in enumerate(sizes)))
        same(module(*given), function(*given))


def kernel_of(fused, function, *operands) -> Pointwise:
    (kernel,) = fused(function, *operands).kernels
    return kernel


def double_relu(x):
    return torch.relu(x * 2) + 1


def test_what_torch_has_to_see_is_left_to_it(fused):
    kernel = kernel_of(fused, double_relu, numbers((3, 5)))
    x = numbers((3, 5)).requires_grad_()
    kernel(x).sum().backward()
    torch.testing.assert_close(x.grad, 2.0 * (x > 0))
    assert kernel(torch.ones(3, 5, device="meta")).shape == (3, 5)
    assert kernel(torch.ones(0, 5)).shape == (0, 5)
    assert kernel(torch.tensor(2.0)) == 5.0
    assert kernel(torch.ones(2, 2, dtype=torch.float64)).dtype == torch.float64
    mapped = torch.vmap(kernel)(torch.ones(3, 5))
    assert torch.equal(mapped, torch.full((3, 5), 3.0))


def test_dispatch_modes_see_the_operators(fused):
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    class Log(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    seen: list[object] = []
    kernel = kernel_of(fused, double_relu, numbers((3, 5)))
    with Log():
        kernel(numbers((3, 5)))
    assert torch.ops.aten.relu.default in seen
    with FlopCounterMode(display=False):
        assert torch.equal(kernel(numbers((3, 5))), double_relu(numbers((3, 5))))


def test_numbers_that_do_not_fit_are_torchs(fused):
    def function(x):
        return torch.relu(x + x.shape[0]) * 2

    module = fused(function, numbers((4, 6)))
    (kernel,) = module.kernels
    x = numbers((4, 6))
    assert any(given.kind == "number" for given in kernel.expression.inputs)
    operands = [x if given.kind == "tensor" else 2**70 for given in kernel.expression.inputs]
    with pytest.raises((RuntimeError, OverflowError)):
        kernel(*operands)


def test_targets_that_are_forced(fused, monkeypatch):
    for name in ("x86-64", "haswell"):
        monkeypatch.setenv("DEEPSEEK_TARGET", name)
        x, y = numbers((9, 47)), numbers((47,))
        same(fused(lambda x, y: torch.relu(x * y) + x, x, y)(x, y), torch.relu(x * y) + x)


def test_results_are_new_and_operands_unchanged(fused):
    x = numbers((4, 6))
    before = x.clone()
    kernel = kernel_of(fused, double_relu, x)
    first, second = kernel(x), kernel(x)
    assert first.data_ptr() != second.data_ptr() != x.data_ptr()
    same(x, before)


def test_names_can_be_printed(fused):
    kernel = kernel_of(fused, double_relu, numbers((3, 5)))
    assert kernel.__name__.isidentifier()
    assert "mul_relu_add" in repr(kernel)
    assert len({kernel, kernel}) == 1


LAYOUTS = {
    "transposed": lambda: (numbers((40, 70)).T, numbers((70, 40))),
    "transposed, fewer dimensions": lambda: (numbers((3, 70, 40)), numbers((40, 70), seed=1).T),
    "heads": lambda: (numbers((2, 5, 3, 8)).transpose(1, 2), numbers((2, 3, 5, 8), seed=1)),
    "every second": lambda: (numbers((9, 60))[:, ::2], numbers((9, 30), seed=1)),
    "every ninth": lambda: (numbers((9, 270))[:, ::9], numbers((9, 30), seed=1)),
    "five dimensions with gaps": lambda: (numbers((4,) * 5)[::2, ::2, ::2, ::2, ::2],
                                          numbers((2,) * 5, seed=1)),
    "alternately broadcast": lambda: (numbers((2, 1, 2, 1, 2, 1)), numbers((1, 3, 1, 3, 1, 3))),
    "a row far apart": lambda: (numbers((9, 30)), numbers((30, 16), seed=1)[:, 3]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("dtype", [FP32, BF16, BOOL, I64], ids=str)
def test_layouts(fused, name, dtype):
    def function(x, y):
        return torch.where(x > y, x.float() * 0.5, y.float()) + 1

    x, y = LAYOUTS[name]()
    x, y = x.to(dtype), y.to(dtype)
    module, expected = fused(function, x, y), function(x, y)
    assert module.groups == 1
    same(module(x, y), expected)
    assert module(x, y).stride() == expected.stride()


def test_whole_numbers_that_need_more_bits_are_torchs(fused):
    module = fused(lambda x: (x + 2**40) * 2 - 1, numbers((7, 13), I32))
    x = numbers((7, 13), I32)
    same(module(x), (x + 2**40) * 2 - 1)


def test_a_launch_says_what_runs(fused):
    x = numbers((3, 5))
    launch = kernel_of(fused, double_relu, x).launch((x,))
    assert (launch.shape, launch.dtype, launch.units) == ((3, 5), FP32, 1)
    out = torch.empty(3, 5)
    launch.kernel.call(launch.pack(x.data_ptr(), out.data_ptr()), 0, launch.units)
    same(out, double_relu(x))
    assert kernel_of(fused, double_relu, x).launch((torch.ones(0, 5),)) is None
