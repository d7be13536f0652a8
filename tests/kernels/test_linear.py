"""The linear kernels against plain PyTorch in float64."""

import itertools
import multiprocessing

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.errors import InputError
from deepseek.kernels import gemm
from deepseek.kernels.gemm.plan import plan_product, workspace_tiles
from deepseek.kernels.gemm.spec import ACTIVATIONS, FORMATS, Tile, tile_for
from deepseek.kernels.target import KNOWN, host

TAILS = [1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257]
DTYPES = [torch.float32, torch.bfloat16]


def tensors(*shapes, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def check(x, weight, target=None, out=None, **epilogue):
    """Compare with float64; the error may grow with the sum of the products' magnitudes."""
    packed = gemm.pack_weight(weight, target)
    y = gemm.linear(x, packed, out=out, **epilogue)
    exact = gemm.linear_reference(x, weight, precision=torch.float64, **epilogue)
    scale = x.double().abs() @ weight.double().abs().T + 1
    for name in ("bias", "residual", "multiply"):
        if epilogue.get(name) is not None:
            scale = scale * (1 + epilogue[name].double().abs())
    unit = 2.0**-8 if y.dtype == torch.bfloat16 else 2.0**-23 * (4 + x.shape[-1] ** 0.5)
    error = (y.double() - exact).abs() / scale
    assert y.shape == exact.shape
    assert error.numel() == 0 or error.max() <= unit
    return y


@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, DTYPES)), ids=str)
def test_tails(target, dtypes):
    """Every tail of N and M with a few of K; then every tail of K."""
    sizes = {(m, n, k) for m in TAILS for n in TAILS for k in (1, 33) if m in (1, 9) or n == 49}
    sizes |= {(9, 49, k) for k in TAILS} | {(m, 33, 257) for m in TAILS}
    for m, n, k in sorted(sizes):
        (x,), (w,) = tensors((m, k), dtype=dtypes[0]), tensors((n, k), dtype=dtypes[1], seed=1)
        check(x, w, target)


@pytest.mark.parametrize("k", [768, 769, 1537, 3001])
@pytest.mark.parametrize("m", [1, 6, 50, 200])
def test_blocks_of_k(target, threads, m, k):
    (x, w), (bias, residual) = tensors((m, k), (130, k)), tensors((130,), (m, 130), seed=1)
    check(x, w, target, bias=bias, residual=residual, activation="gelu")
    check(x, w.bfloat16(), target, bias=bias)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("given_", list(itertools.product([False, True], repeat=3)), ids=str)
def test_epilogues(threads, activation, given_):
    x, w = tensors((37, 65), (50, 65))
    bias, residual, multiply = tensors((50,), (37, 50), (37, 50), seed=1)
    operands = {"bias": bias, "residual": residual, "multiply": multiply}
    chosen = {name: operands[name] for name, use in zip(operands, given_, strict=True) if use}
    check(x, w, activation=activation, **chosen)
    check(x, w, activation=activation, **{name: value.bfloat16() for name, value in chosen.items()})


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    m=st.integers(0, 70),
    n=st.integers(0, 120),
    k=st.integers(0, 150),
    dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)),
    target=st.sampled_from([t for t in (host(), *KNOWN.values()) if t.needs <= host().needs
                            and t.architecture == host().architecture]),
)  # fmt: skip
def test_any_shape(m, n, k, dtypes, target):
    (x,), (w,) = tensors((m, k), dtype=dtypes[0]), tensors((n, k), dtype=dtypes[1], seed=1)
    check(x, w, target)


def test_strided_operands():
    x, residual, multiply, bias, w = tensors((20, 80), (60, 40), (40, 20), (60,), (30, 40))
    check(x[:, 10:50], w, residual=residual[::3, 5:35], multiply=multiply[10:, :].T, bias=bias[::2])
    check(x.T[:40].T, w)
    check(x[:, ::2], w)
    check(x[:1].expand(20, 80)[:, :40], w)
    check(x.reshape(2, 5, 2, 80)[:, :, 0, :40], w)
    check(x[3, :40], w)


@pytest.mark.parametrize("offset", range(1, 5))
def test_alignment(target, offset):
    (memory, w) = tensors((2000,), (33, 47))
    x = memory[offset : offset + 9 * 47].view(9, 47)
    out = torch.empty(1000)[offset : offset + 9 * 33].view(9, 33)
    y = check(x, w, target, out=out, bias=memory[offset : offset + 33])
    assert y is out


def test_writes_nothing_but_its_result(target):
    x, w = tensors((13, 31), (50, 31))
    memory = torch.full((15, 64), 7.0)
    gemm.linear(x, gemm.pack_weight(w, target), out=memory[1:14, 5:55])
    memory[1:14, 5:55] = 7.0
    assert (memory == 7.0).all()


def test_out_may_be_the_residual():
    x, w, residual = tensors((300, 2000), (70, 2000), (300, 70))
    exact = gemm.linear_reference(x, w, residual=residual, precision=torch.float64)
    y = gemm.linear(x, gemm.pack_weight(w), residual=residual, out=residual)
    assert y is residual
    torch.testing.assert_close(y.double(), exact, atol=2e-4, rtol=1e-4)


def test_out_of_any_layout_and_dtype():
    x, w = tensors((9, 20), (30, 20))
    exact = gemm.linear_reference(x, w)
    narrow = torch.empty(9, 30, dtype=torch.bfloat16)
    for out in (torch.empty(30, 9).T, narrow, torch.empty(9, 60)[:, ::2]):
        assert gemm.linear(x, gemm.pack_weight(w), out=out) is out
        torch.testing.assert_close(out.float(), exact, atol=5e-2, rtol=1e-2)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5), (2, 0), (0, 0)])
def test_zero_sizes(shape):
    (x,), (w, bias) = tensors(shape), tensors((4, shape[-1]), (4,))
    y = gemm.linear(x, gemm.pack_weight(w), bias, "relu")
    torch.testing.assert_close(y, torch.relu(torch.nn.functional.linear(x, w, bias)))
    assert gemm.linear(torch.ones(2, 3), gemm.pack_weight(torch.ones(0, 3))).shape == (2, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_depth_leaves_the_bias(target, dtype):
    x, w = (torch.empty(rows, 0, dtype=dtype) for rows in (40, 50))
    (bias,) = tensors((50,), dtype=dtype)
    assert torch.equal(gemm.linear(x, gemm.pack_weight(w, target), bias), bias.expand(40, 50))


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_infinity_and_nan(target, activation, value):
    x, w = tensors((9, 20), (30, 20))
    x[4, 3] = value
    y = gemm.linear(x, gemm.pack_weight(w, target), activation=activation)
    # In float32 torch's GELU of infinity is NaN where oneDNN computes it with AVX-512.
    exact = gemm.linear_reference(x, w, activation=activation, precision=torch.float64)
    torch.testing.assert_close(y, exact.float(), equal_nan=True, atol=1e-4, rtol=1e-4)


def test_unpacking_returns_the_weight():
    for dtype, n, k in itertools.product(DTYPES, [1, 16, 50], [1, 7, 8]):
        (w,) = tensors((n, k), dtype=dtype)
        assert torch.equal(gemm.pack_weight(w).unpack(), w)


X, W = torch.ones(3, 4), torch.ones(5, 4)
REFUSED = {
    "depth": ({"x": torch.ones(3, 5)}, r"`x` of shape \(..., 4\), got \(3, 5\)"),
    "scalar": ({"x": torch.tensor(1.0)}, r"`x` of shape \(..., 4\), got \(\)"),
    "dtype": ({"x": X.double()}, "`x` of float32 or bfloat16, got torch.float64"),
    "bias": ({"bias": torch.ones(4)}, r"`bias` of shape \(5,\), got \(4,\)"),
    "bias dtype": ({"bias": torch.ones(5).half()}, "`bias` of .*, got torch.float16"),
    "residual": ({"residual": torch.ones(5)}, r"`residual` of shape \(3, 5\), got \(5,\)"),
    "multiply": ({"multiply": torch.ones(1, 5)}, r"`multiply` of shape \(3, 5\), got \(1, 5\)"),
    "activation": ({"activation": "softplus"}, "an activation of .*, got 'softplus'"),
    "out": ({"out": torch.ones(3, 4)}, r"`out` of shape \(3, 5\), got \(3, 4\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    arguments, message = REFUSED[case]
    with pytest.raises(InputError, match=f"expected {message}"):
        gemm.linear(**{"x": X, "weight": gemm.pack_weight(W), **arguments})


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.ones(3), "two dimensions"),
        (torch.ones(2, 3, 4), "two dimensions"),
        (W.double(), "float64"),
    ],
)
def test_weight_that_does_not_fit_is_refused(weight, message):
    with pytest.raises(InputError, match=message):
        gemm.pack_weight(weight)


def test_result_over_its_own_input_is_refused():
    x = torch.ones(4, 4)
    with pytest.raises(InputError, match="apart from"):
        gemm.linear(x, gemm.pack_weight(torch.ones(4, 4)), out=x)


def test_four_python_threads_a_thousand_calls(wrong_calls):
    x, w, bias = tensors((37, 100), (70, 100), (70,))
    packed = gemm.pack_weight(w)
    expected = gemm.linear(x, packed, bias, "gelu")
    assert wrong_calls(1000, lambda: gemm.linear(x, packed, bias, "gelu"), expected) == []


def test_threads_do_not_change_the_result():
    x, w = tensors((200, 1000), (300, 1000))
    packed, results = gemm.pack_weight(w), []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(gemm.linear(x, packed))
    torch.set_num_threads(before)
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-5)


def _linear_in_child(x, w, queue):
    queue.put(gemm.linear(x, gemm.pack_weight(w), activation="silu").tolist())


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_in_another_process(method):
    x, w = tensors((70, 100), (130, 100))
    expected = gemm.linear(x, gemm.pack_weight(w), activation="silu")
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_linear_in_child, args=(x, w, queue))
    child.start()
    result = torch.tensor(queue.get(timeout=100))
    child.join(20)
    assert child.exitcode == 0
    torch.testing.assert_close(result, expected)


@given(
    m=st.integers(1, 5000),
    n=st.integers(1, 5000),
    k=st.integers(0, 9000),
    threads=st.integers(1, 64),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_plan_covers_the_product(m, n, k, threads):
    scheme, tile = FORMATS["mixed"], Tile(8, 3, 16)
    plan = plan_product(scheme, tile, m, n, k, threads)
    heights = [plan.height + 1] * plan.tall + [plan.height] * (plan.row_panels - plan.tall)
    assert sum(heights) == m
    assert max(heights) <= tile.rows
    assert max(heights) - min(heights) <= 1
    assert 2 * plan.steps + plan.half == k
    assert plan.block_columns * plan.column_blocks >= plan.column_panels
    assert plan.block_columns * (plan.column_blocks - 1) < plan.column_panels
    assert plan.block_steps * plan.step_blocks >= plan.steps
    row_blocks = plan.units // plan.column_blocks
    assert plan.block_rows * row_blocks >= plan.row_panels
    assert plan.block_rows * (row_blocks - 1) < plan.row_panels
    assert plan.step_blocks == 1 or plan.block_rows * plan.block_columns <= workspace_tiles(tile)


def test_tiles():
    assert (tile_for(KNOWN["znver4"]).rows, tile_for(KNOWN["znver4"]).columns) == (8, 48)
    assert (tile_for(KNOWN["haswell"]).rows, tile_for(KNOWN["haswell"]).columns) == (6, 16)
