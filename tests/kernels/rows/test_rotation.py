"""Rotary position embedding against plain PyTorch in float64."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.errors import InputError
from deepseek.kernels import rotary
from deepseek.kernels.rows import rotary_reference
from deepseek.kernels.rows.rotation import run_rotary

TAILS = [1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257]


def operands(depth=64, half=None, tokens=5, dtype=torch.float32, rows=None, batch=2, heads=(4, 2)):
    """q as a view of (B, N, H, D), k contiguous, and tables of real angles."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(batch, tokens, heads[0], depth, generator=generator).transpose(1, 2)
    k = torch.randn(batch, heads[1], tokens, depth, generator=generator)
    half = depth // 2 if half is None else half
    angles = torch.outer(torch.arange(rows or tokens), 10.0 ** -torch.arange(half))
    return q.to(dtype), k.to(dtype), angles.cos(), angles.sin()


def check(q, k, cos, sin, positions=None, interleaved=False, target=None):
    results = run_rotary(q, k, cos, sin, positions, interleaved, target)
    exact = rotary_reference(q, k, cos, sin, positions, interleaved, precision=torch.float64)
    unit = 2.0**-8 if q.dtype == torch.bfloat16 else 2.0**-21
    for y, expected in zip(results, exact, strict=True):
        torch.testing.assert_close(y.double(), expected, atol=unit, rtol=unit, equal_nan=True)
    return results


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_tails(target, threads, interleaved, dtype):
    """Every tail of the turned half, and of what is left over."""
    for half in TAILS:
        for rest in (0, 5, 32):
            q, k, cos, sin = operands(2 * half + rest, half, tokens=2, dtype=dtype)
            check(q, k, cos, sin, None, interleaved, target)


@pytest.mark.parametrize("interleaved", [False, True])
def test_positions(threads, interleaved):
    q, k, cos, sin = operands(rows=40)
    for dtype, shape in itertools.product((torch.int32, torch.int64), ((5,), (2, 5))):
        check(q, k, cos, sin, torch.randint(40, shape).to(dtype), interleaved)
        check(q, k, cos.bfloat16(), sin.bfloat16(), torch.randint(40, shape), interleaved)


def test_tables_of_each_token(threads):
    q, k, cos, sin = operands()
    check(q, k, torch.stack((cos, sin)), torch.stack((sin, cos)))
    both = torch.cat((cos, cos), -1)  # as models of transformers make them
    check(q, k, both[:, :32], torch.cat((sin, sin), -1)[:, :32])


def test_enough_tokens_for_all_threads(threads):
    check(*operands(tokens=300))


def test_llama_turns_so():
    q, k, cos, sin = operands()
    cos2, sin2 = torch.cat((cos, cos), -1), torch.cat((sin, sin), -1)
    for x, y in zip((q, k), rotary(q, k, cos, sin), strict=True):
        half = torch.cat((-x[..., 32:], x[..., :32]), -1)
        torch.testing.assert_close(y, x * cos2 + half * sin2)


def test_pairs_keep_their_length():
    q, k, cos, sin = operands()
    for interleaved in (False, True):
        for x, y in zip((q, k), rotary(q, k, cos, sin, None, interleaved), strict=True):
            torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(*[st.integers(0, 4)] * 4),
    depth=st.integers(0, 40),
    share=st.floats(0, 1),
    interleaved=st.booleans(),
)
def test_any_shape(sizes, depth, share, interleaved):
    batch, q_heads, k_heads, tokens = sizes
    half = int(share * (depth // 2))
    check(*operands(depth, half, tokens, batch=batch, heads=(q_heads, k_heads), rows=tokens),
          None, interleaved)  # fmt: skip


def test_layouts():
    q, k, cos, sin = operands()
    turned = rotary(q, k, cos, sin)
    assert [y.stride() for y in turned] == [q.stride(), k.stride()]
    check(q[..., 8:40], k[:, :, :, 8:40], cos[:, :16], sin[:, :16])
    check(q[..., ::2], k[..., ::2], cos[:, ::2], sin[:, ::2])
    check(q[:, :, :1].expand_as(q), k, cos, sin)


@pytest.mark.parametrize("offset", range(1, 5))
def test_alignment(target, offset):
    memory = torch.randn(2000)
    q = memory[offset : offset + 9 * 94].view(1, 3, 3, 94)
    table = memory[offset : offset + 3 * 33].view(3, 33)
    check(q, q, table, table, None, True, target)
    check(q, q, table, table, None, False, target)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_infinity_and_nan(value):
    q, k, cos, sin = operands()
    q[0, 0, 0, 3] = k[1, 1, 4, 40] = value
    check(q, k, cos, sin)


@pytest.mark.parametrize("wrong", [-1, 40, 1 << 40])
def test_positions_outside_the_tables_are_refused(target, threads, wrong):
    q, k, cos, sin = operands(rows=40)
    positions = torch.tensor([3, 2, 39, wrong, 0])
    with pytest.raises(InputError, match=rf"expected `positions` .* below 40, got {wrong}$"):
        run_rotary(q, k, cos, sin, positions, False, target)
    with pytest.raises(InputError, match="below 0, got 3"):
        rotary(q, k, cos[:0], sin[:0], positions)


Q, K, COS, SIN = operands()
REFUSED = {
    "dimensions": ({"q": Q[0]}, r"`q` of shape \(batch, heads, length, depth\), got \(4, 5, 64\)"),
    "k": ({"k": K[:, :, :4]}, r"`k` of shape \(2, heads, 5, 64\), got \(2, 2, 4, 64\)"),
    "dtype": ({"q": Q.double()}, "`q` of float32 or bfloat16, got torch.float64"),
    "dtypes": ({"k": K.bfloat16()}, "`k` of the dtype of `q`, torch.float32, got torch.bfloat16"),
    "sin": ({"sin": SIN[:, :8]}, r"`sin` of the shape and dtype of `cos`, \(5, 32\) .*, got"),
    "cos": ({"cos": COS[:4], "sin": SIN[:4]}, r"`cos` of shape \(5, half\) or .*, got \(4, 32\)"),
    "half": ({"cos": Q[0, 0], "sin": Q[0, 0]}, "half at most 32, got"),
    "positions": ({"positions": torch.arange(4)}, r"`positions` of shape \(5,\) or \(2, 5\), got"),
    "position dtype": ({"positions": torch.ones(5)}, "`positions` of int64 or int32, got"),
    "device": ({"positions": torch.ones(5).long().to("meta")}, "`positions` on cpu, got meta"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    arguments, message = REFUSED[case]
    with pytest.raises(InputError, match=f"{message}"):
        rotary(**{"q": Q, "k": K, "cos": COS, "sin": SIN, **arguments})
