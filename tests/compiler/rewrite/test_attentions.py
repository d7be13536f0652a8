"""Attention is found however it is called or written out, and near misses compute the same."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import deepseek
from deepseek.compiler.operators import Attention
from tests.compiler.rewrite.conftest import Found, Written

F = torch.nn.functional
SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625]).view(1, 4, 1, 1)
DISTANCES = -(torch.arange(6)[:, None] - torch.arange(6)).abs().float()
MASK = torch.zeros(2, 1, 1, 6).masked_fill(torch.arange(6) > 3, torch.finfo(torch.float32).min)

Spelling = Callable[[Written, Tensor, Tensor, Tensor], Tensor]


def scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1)


CALLS: dict[str, tuple[Spelling, int]] = {
    "plain": (lambda _, q, k, v: F.scaled_dot_product_attention(q, k, v), 3),
    "causal": (lambda _, q, k, v: F.scaled_dot_product_attention(q, q, v, is_causal=True), 3),
    "scaled": (lambda _, q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.3), 3),
    "masked": (lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v, m.mask), 4),
    "three dimensions": (
        lambda _, q, k, v: F.scaled_dot_product_attention(q[0], k[0], v[0]), 3,
    ),
    "shared keys": (
        lambda _, q, k, v: F.scaled_dot_product_attention(
            q, k[:, :2], v[:, :2], enable_gqa=True
        ), 3,
    ),
}  # fmt: skip
WRITTEN: dict[str, tuple[Spelling, int]] = {
    "without a scale": (lambda _, q, k, v: scores(q, k).softmax(-1) @ v, 3),
    "multiplied": (lambda _, q, k, v: (scores(q, k) * 0.25).softmax(-1) @ v, 3),
    "divided": (lambda _, q, k, v: (scores(q, k) / math.sqrt(8)).softmax(-1) @ v, 3),
    "masked": (lambda m, q, k, v: (scores(q, k) / 3 + m.mask).softmax(-1) @ v, 4),
    "mask first": (lambda m, q, k, v: (m.mask + scores(q, k) * 0.5).softmax(-1) @ v, 4),
    "distances": (lambda m, q, k, v: (scores(q, k) * 0.5 + m.alibi).softmax(-1) @ v, 4),
    "dropout": (
        lambda _, q, k, v: F.dropout(scores(q, k).softmax(-1), 0.1, training=False) @ v, 3,
    ),
    "mT": (lambda _, q, k, v: (q @ k.mT).softmax(-1) @ v, 3),
}  # fmt: skip
NEAR: dict[str, Spelling] = {
    "over the queries": lambda _, q, k, v: scores(q, k).softmax(-2) @ v,
    "mask scaled too": lambda m, q, k, v: ((scores(q, k) + m.alibi) * 0.5).softmax(-1) @ v,
    "keys as they are": lambda _, q, k, v: (q[..., :6] @ k[..., :6]).softmax(-1) @ v,
    "shares doubled": lambda _, q, k, v: (scores(q, k).softmax(-1) * 2) @ v,
}


def model(function: Callable[..., object]) -> Written:
    """Heads are made by products, so that their number and size are known."""

    def attend(m: Written, *rows: Tensor) -> object:
        heads = (
            F.linear(x, w).view(*x.shape[:-1], 4, 8).transpose(1, 2)
            for x, w in zip(rows, (m.q, m.k, m.v), strict=True)
        )
        return function(m, *heads)

    weights = dict(zip("qkv", torch.randn(3, 32, 32) / 4, strict=True))
    return Written(attend, mask=MASK, alibi=SLOPES * DISTANCES, **weights)


def given() -> list[Tensor]:
    return list(torch.randn(3, 2, 6, 32, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", CALLS)
def test_calls(found: Found, name: str) -> None:
    function, operands = CALLS[name]
    (node,) = found(Attention, model(function), *given())
    assert len(node.args) == operands
    assert node.target.causal == (name == "causal")


def test_causal_attention_whose_lengths_may_differ_is_torchs(found: Found) -> None:
    """Torch counts from the first key, the kernel from the last: the same where lengths are."""
    function = lambda _, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)  # noqa: E731
    whole, x = model(function), torch.randn(2, 9, 32)
    assert not found(Attention, whole, *given())
    compiled = deepseek.compile(whole.eval())
    for keys in (6, 9):
        inputs = (x[:, :6], x[:, :keys], x[:, :keys])
        torch.testing.assert_close(compiled(*inputs), whole(*inputs))


@pytest.mark.parametrize("name", WRITTEN)
def test_written_out(found: Found, name: str) -> None:
    function, operands = WRITTEN[name]
    (node,) = found(Attention, model(function), *given())
    assert len(node.args) == operands


@pytest.mark.parametrize("name", NEAR)
def test_near_misses(found: Found, name: str) -> None:
    assert not found(Attention, model(NEAR[name]), *given())


def test_scores_that_are_returned_too_are_kept(found: Found) -> None:
    def both(_: Written, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        shares = scores(q, k).softmax(-1)
        return shares @ v, shares

    assert not found(Attention, model(both), *given())
