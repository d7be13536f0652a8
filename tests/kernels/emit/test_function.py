"""Loops, conditions, masks, reductions, conversions and transposes, by running them."""

import numpy as np
import pytest

from deepseek.kernels import jit
from deepseek.kernels.emit import BF16, F32, I32, Arguments, Module, fold, transpose
from deepseek.kernels.target import KNOWN

ARGUMENTS = Arguments(x="pointer", out="pointer", length="int", factor="float")
TAILS = [0, 1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257]


def run(target, emit, x, out, factor=0.0, length=None):
    """Build a task by ``emit(f, x, out)``, run it for one unit, and return ``out``."""
    module = Module("test_function", target)
    with module.task(ARGUMENTS) as f:
        emit(f, f.arguments)
    length = len(x) if length is None else length
    arguments = ARGUMENTS.pack(x.ctypes.data, out.ctypes.data, length, factor)
    jit.compile_module(module).call(arguments, 0, 1)
    return out


@pytest.mark.parametrize("length", TAILS)
def test_strips_touch_each_element_once(target, length):
    def emit(f, a):
        x, out = f.array(a.x), f.array(a.out)
        for column, mask in f.strips(a.length):
            out.store(x.load(column, mask) * a.factor.splat(f.lanes), column, mask)

    x = np.arange(300, dtype=np.float32)
    out = run(target, emit, x, np.full(300, -1, np.float32), 3.0, length)
    np.testing.assert_array_equal(out[:length], 3 * x[:length])
    np.testing.assert_array_equal(out[length:], -1)


@pytest.mark.parametrize("length", TAILS)
def test_carried_sum_and_reductions(target, length):
    def emit(f, a):
        x, out = f.array(a.x), f.array(a.out)
        total = f.variable(f.zeros())
        for column, mask in f.strips(a.length, carry=[total]):
            total += x.load(column, mask)
        out.store(f.reduce("add", total), 0)
        out.store(f.reduce("max", total), 1)
        out.store(f.reduce("min", total), 2)

    x = np.arange(1, length + 1, dtype=np.float32)
    out = run(target, emit, x, np.empty(3, np.float32))
    lanes = [x[lane :: target.lanes].sum() for lane in range(target.lanes)]
    np.testing.assert_array_equal(out, [x.sum(), max(lanes), min(lanes)])


def test_nested_loops_and_conditions(target):
    """sum over i < 10, j < i, i even, of i * j"""

    def emit(f, a):
        total = f.variable(f.index(0))
        for i in f.range(0, 10, carry=[total]):
            for j in f.range(0, i, carry=[total]):
                with f.when((i & 1).equals(0), carry=[total]):
                    total += i * j
        f.array(a.out, I32).store(total.to(I32))

    out = run(target, emit, np.empty(0, np.float32), np.empty(1, np.int32))
    assert out[0] == sum(i * j for i in range(10) for j in range(i) if i % 2 == 0)


@pytest.mark.parametrize("offset", range(4))
def test_any_alignment(target, offset):
    def emit(f, a):
        x, out = f.array(a.x), f.array(a.out)
        for column, mask in f.strips(a.length):
            out.store(x.load(column, mask), column, mask)

    x = np.arange(50, dtype=np.float32)[offset:]
    out = run(target, emit, x, np.empty(60, np.float32)[1 : 1 + len(x)])
    np.testing.assert_array_equal(out, x)


def test_bf16_rounds_to_nearest_even_as_torch_does(target):
    import torch

    def emit(f, a):
        x, out = f.array(a.x), f.array(a.out, BF16)
        for column, mask in f.strips(a.length):
            out.store(x.load(column, mask), column, mask)

    generator = np.random.default_rng(0)
    bits = generator.integers(0, 1 << 32, 4001, dtype=np.uint32)
    exponent = (bits >> 23) & 255
    bits = bits[(exponent > 0) & (exponent < 255)]
    special = np.array([0x7F800000, 0xFF800000, 0x3F808000, 0x3F818000, 0x7F7FFFFF], np.uint32)
    x = np.concatenate([bits, special]).view(np.float32)
    out = run(target, emit, x, np.empty(len(x), np.uint16))
    expected = torch.from_numpy(x).bfloat16().view(torch.uint16).numpy()
    np.testing.assert_array_equal(out, expected)

    nans = np.array([0x7FC00000, 0xFFC00000, 0x7FFFFFFF, 0x7F800001], np.uint32).view(np.float32)
    out = run(target, emit, nans, np.empty(len(nans), np.uint16))
    assert (((out >> 7) & 255 == 255) & (out & 127 != 0)).all()


def test_bf16_widens(target):
    def emit(f, a):
        x, out = f.array(a.x, BF16), f.array(a.out)
        for column, mask in f.strips(a.length):
            out.store(x.load(column, mask), column, mask)

    x = np.arange(0, 1 << 16, 7, dtype=np.uint16)
    out = run(target, emit, x, np.empty(len(x), np.float32))
    np.testing.assert_array_equal(out.view(np.uint32), x.astype(np.uint32) << 16)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_transpose(target, size):
    def emit(f, a):
        x, out = f.array(a.x), f.array(a.out)
        rows = [x.load(row * size, lanes=size) for row in range(size)]
        for row, column in enumerate(transpose(rows)):
            out.store(column, row * size)

    x = np.arange(size * size, dtype=np.float32).reshape(size, size)
    out = run(target, emit, x, np.empty((size, size), np.float32))
    np.testing.assert_array_equal(out, x.T)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_fold(target, size):
    def emit(f, a):
        x, out = f.array(a.x), f.array(a.out)
        rows = [x.load(row * size, lanes=size) for row in range(size)]
        out.store(fold(rows, f.maximum), 0)

    x = np.random.default_rng(0).permutation(size * size).astype(np.float32).reshape(size, size)
    out = run(target, emit, x, np.empty(size, np.float32))
    np.testing.assert_array_equal(out, x.max(1))


def test_types_that_differ_are_named():
    module = Module("test_types", KNOWN["haswell"])
    with module.task(ARGUMENTS) as f, pytest.raises(TypeError, match="add of <8 x float> and i64"):
        f.zeros(F32) + f.begin


def test_invalid_ir_is_refused():
    module = Module("test_invalid", KNOWN["haswell"])
    with module.task(ARGUMENTS) as f:
        for _ in f.range(0, 10):
            break  # leaves the loop's block without an end
    with pytest.raises(RuntimeError):
        jit.object_code(str(module), KNOWN["haswell"])


def test_masked_accesses_without_an_instruction_are_compiled_once():
    def text(name):
        module = Module("test_masked", KNOWN[name])
        with module.task(Arguments(x="pointer", n="int")) as f:
            for column, mask in f.strips(f.arguments.n):
                x = f.array(f.arguments.x, BF16)
                x.store(x.load(column, mask) + x.load(column + 1, mask), column, mask)
        return str(module)

    assert text("haswell").count('call <8 x i16> @"masked_load_v8i16"') == 2
    assert text("haswell").count('call <8 x i16> @"llvm.masked.load') == 1
    assert "masked_load_v16i16" not in text("znver4")
