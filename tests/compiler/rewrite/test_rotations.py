"""Rotary position embedding by halves is found; other kinds of it compute the same without."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from deepseek.compiler.operators import Rotary
from tests.compiler.rewrite.conftest import Found, Written

HEADS = (2, 4, 6, 8)  # batch, heads, tokens, depth
Turn = Callable[[Tensor, Tensor, Tensor], Tensor]


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    pairs = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * cos + pairs * sin


def backwards(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([x[..., half:], -x[..., :half]], -1) * sin


def partial(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return torch.cat([turned(x[..., :4], cos[..., :4], sin[..., :4]), x[..., 4:]], -1)


def model(turn: Turn) -> Written:
    """Heads are made by products, so that their size is known."""

    def both(m: Written, q: Tensor, k: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        q, k = q @ m.w, k @ m.w
        angles = torch.cat([places, places], -1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return turn(q, cos, sin), turn(k, cos, sin)

    return Written(both, w=torch.randn(8, 8))


def given() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(HEADS), torch.randn(2, 2, 6, 8), torch.randn(2, 6, 4)


def test_halves(found: Found) -> None:
    (node,) = found(Rotary, model(turned), *given())
    assert len(node.args) == 4


@pytest.mark.parametrize("turn", [interleaved, backwards, partial], ids=lambda f: f.__name__)
def test_other_kinds_are_left_alone(found: Found, turn: Turn) -> None:
    assert not found(Rotary, model(turn), *given())
