"""The vector functions against float64, at the errors that their docstrings state."""

import ctypes
import math
from functools import lru_cache

import numpy as np
import pytest

from deepseek.kernels import jit
from deepseek.kernels.emit import Arguments, Module
from deepseek.kernels.emit import math as vector_math
from deepseek.kernels.target import KNOWN, host

ARGUMENTS = Arguments(x="pointer", out="pointer")
LARGEST = float(np.finfo(np.float32).max)

erf = np.vectorize(math.erf, otypes=[np.float64])

INF, NAN = math.inf, math.nan

FUNCTIONS = {
    "exp": vector_math.exp,
    "exp2": vector_math.exp2,
    "exp2_short": lambda x: vector_math.exp2(x, short=True),
    "log": vector_math.log,
    "rsqrt": vector_math.rsqrt,
    "sigmoid": vector_math.sigmoid,
    "tanh": vector_math.tanh,
    "erf": vector_math.erf,
    "relu": vector_math.relu,
    "silu": vector_math.silu,
    "gelu": vector_math.gelu,
    "gelu_tanh": vector_math.gelu_tanh,
    "gelu_coarse": vector_math.gelu_coarse,
    "gelu_tanh_coarse": vector_math.gelu_tanh_coarse,
    "silu_coarse": vector_math.silu_coarse,
}


FOR_AVX512 = {"exp2_coarse": vector_math.exp2_coarse}


@pytest.fixture
def wide_target(target):
    """One with AVX-512."""
    if not target.avx512:
        pytest.skip("it is made for AVX-512")
    return target


def build(target, name):
    """Apply a function to blocks of one register each."""
    module = Module(f"test_{name}", target)
    with module.task(ARGUMENTS) as f:
        x, out = f.array(f.arguments.x), f.array(f.arguments.out)
        function = (FUNCTIONS | FOR_AVX512)[name]
        for block in f.range(f.begin, f.end):
            out.store(function(x.load(block * f.lanes)), block * f.lanes)
    return module


@lru_cache
def compiled(name, target):
    return jit.compile_module(build(target, name))


def apply(name, target, values):
    x = np.zeros(-(-len(values) // target.lanes) * target.lanes, np.float32)
    x[: len(values)] = values
    out = np.empty_like(x)
    arguments = ARGUMENTS.pack(x.ctypes.data, out.ctypes.data)
    compiled(name, target).call(arguments, 0, len(x) // target.lanes)
    return out[: len(values)]


def ulps(result, exact):
    """Error in units of the spacing of fp32 numbers at the exact value."""
    spacing = np.spacing(np.maximum(np.abs(exact), 2.0**-126).astype(np.float32))
    return np.abs(result.astype(np.float64) - exact) / spacing.astype(np.float64)


@pytest.mark.parametrize(
    ("name", "low", "high", "exact", "bound"),
    [
        ("exp", -86.9, 88.72, np.exp, 1.1),
        ("exp", -1e-3, 1e-3, np.exp, 1.1),
        ("exp2", -125.4, 127.99, np.exp2, 1.2),
        ("exp2_short", -125.4, 127.99, np.exp2, 2.2),
        ("sigmoid", -86.0, 86.0, lambda x: 1 / (1 + np.exp(-x)), 3.0),
        ("tanh", -10.0, 10.0, np.tanh, 2.0),
        ("tanh", -1e-3, 1e-3, np.tanh, 2.0),
        ("log", 0.4, 3.0, np.log, 1.5),
        ("log", 1e-6, 1e6, np.log, 1.5),
        ("rsqrt", 1e-6, 1e6, lambda x: 1 / np.sqrt(x), 1.5),
    ],
)
def test_relative_error(target, name, low, high, exact, bound):
    x = np.linspace(low, high, 200_003).astype(np.float32)
    assert ulps(apply(name, target, x), exact(x.astype(np.float64))).max() <= bound


def test_error_of_what_is_rounded_to_bf16(wide_target):
    x = np.linspace(-125.4, 127.99, 200_003).astype(np.float32)
    exact = np.exp2(x.astype(np.float64))
    found = apply("exp2_coarse", wide_target, x)
    assert np.abs(found / exact - 1).max() <= 1.02e-4
    edges = apply("exp2_coarse", wide_target, np.float32([-INF, -200, 0, 128, INF, NAN]))
    assert np.array_equal(edges, np.float32([0, 0, 1, INF, INF, NAN]), equal_nan=True)


GATES = {
    "gelu_coarse": lambda x: (1 + erf(x / math.sqrt(2))) / 2,
    "gelu_tanh_coarse": lambda x: (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "silu_coarse": lambda x: 1 / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("name", GATES)
def test_error_of_activations_that_are_rounded_to_8_bits(target, name):
    x = np.linspace(-60, 60, 400_003).astype(np.float32)
    exact = x.astype(np.float64) * GATES[name](x.astype(np.float64))
    error = np.abs(apply(name, target, x) - exact)
    assert (error / np.maximum(np.abs(exact), 0.4)).max() <= 2e-4
    assert error[np.abs(x) < 1].max() <= (2e-5 if name.startswith("gelu") else 1e-4)


@pytest.mark.parametrize("name", GATES)
def test_edges_of_activations_that_are_rounded_to_8_bits(target, name):
    zero, infinity, nan, low = apply(name, target, [0.0, INF, NAN, -1e30])
    assert (zero, infinity) == (0.0, INF)
    assert math.isnan(nan)
    assert abs(low) <= 1e-4


@pytest.mark.parametrize("name", ["log", "rsqrt"])
def test_relative_error_over_all_magnitudes(target, name):
    x = np.exp(np.linspace(-87.3, 88.7, 100_003)).astype(np.float32)
    exact = {"log": np.log, "rsqrt": lambda v: 1 / np.sqrt(v)}[name](x.astype(np.float64))
    assert ulps(apply(name, target, x), exact).max() <= 1.5


@pytest.mark.parametrize(
    ("name", "exact", "bound"),
    [
        ("erf", erf, 1.5e-7),
        ("gelu", lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))), 5e-7),
        ("silu", lambda x: x / (1 + np.exp(-x)), 1e-6),
        ("relu", lambda x: np.maximum(x, 0), 0.0),
        (
            "gelu_tanh",
            lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
            1e-6,
        ),
    ],
)
def test_absolute_error(target, name, exact, bound):
    x = np.linspace(-6, 6, 100_003).astype(np.float32)
    assert np.abs(apply(name, target, x) - exact(x.astype(np.float64))).max() <= bound


EDGES = {
    "exp": {-INF: 0.0, -200.0: 0.0, 0.0: 1.0, 88.8: INF, 1e30: INF, INF: INF, NAN: NAN},
    "exp2": {-INF: 0.0, -200.0: 0.0, 0.0: 1.0, 127.0: 2.0**127, 128.0: INF, INF: INF, NAN: NAN},
    "exp2_short": {-INF: 0.0, 0.0: 1.0, 128.0: INF, NAN: NAN},
    "log": {0.0: -INF, 1.0: 0.0, -1.0: NAN, -INF: NAN, INF: INF, NAN: NAN},
    "rsqrt": {0.0: INF, 4.0: 0.5, INF: 0.0, -1.0: NAN, NAN: NAN},
    "sigmoid": {-INF: 0.0, 0.0: 0.5, INF: 1.0, NAN: NAN},
    "tanh": {-INF: -1.0, 0.0: 0.0, INF: 1.0, NAN: NAN},
    "erf": {-INF: -1.0, 0.0: 0.0, 5.0: 1.0, INF: 1.0, NAN: NAN},
    "relu": {-INF: 0.0, -1.0: 0.0, 2.0: 2.0, INF: INF, NAN: NAN},
    "gelu": {-INF: NAN, 0.0: 0.0, 10.0: 10.0, INF: INF, NAN: NAN},
    "gelu_tanh": {0.0: 0.0, 10.0: 10.0, INF: INF, NAN: NAN},
    "silu": {0.0: 0.0, INF: INF, -INF: NAN, NAN: NAN},
}


@pytest.mark.parametrize("name", EDGES)
def test_edges(target, name):
    arguments = list(EDGES[name])
    expected = np.array(list(EDGES[name].values()), np.float32)
    np.testing.assert_array_equal(apply(name, target, arguments), expected)


@pytest.mark.parametrize("target", KNOWN.values(), ids=lambda target: target.name)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_code_calls_no_library(target, name):
    """A vector function that LLVM turned into scalar library calls would still be correct."""
    text = jit.assembly(str(build(target, name)), target)
    calls = [line for line in text.splitlines() if line.split()[:1] in (["callq"], ["bl"])]
    assert calls == []


def test_host_has_a_target():
    assert ctypes.sizeof(ctypes.c_void_p) == 8
    assert host().lanes in (4, 8, 16)
