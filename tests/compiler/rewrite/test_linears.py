"""Products with constant weights become linear layers; those of the same input, one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from deepseek.compiler.operators import Linear
from tests.compiler.rewrite.conftest import Found, Written

F = torch.nn.functional
WEIGHTS = {"w": torch.randn(6, 8), "v": torch.randn(6, 8), "b": torch.randn(6)}

SPELLINGS: dict[str, Callable[[Written, Tensor], Tensor]] = {
    "linear": lambda m, x: F.linear(x, m.w, m.b),
    "linear without a bias": lambda m, x: F.linear(x, m.w),
    "addmm": lambda m, x: torch.addmm(m.b, x, m.w.t()),
    "mm": lambda m, x: torch.mm(x, m.w.t()),
    "matmul": lambda m, x: torch.matmul(x, m.w.t()),
    "of more dimensions": lambda m, x: torch.addmm(m.b, x.view(-1, 8), m.w.t()).view(2, -1, 6),
}
NEAR: dict[str, Callable[[Written, Tensor], Tensor]] = {
    "a sum that is scaled": lambda m, x: torch.addmm(m.b, x, m.w.t(), beta=2),
    "a product that is scaled": lambda m, x: torch.addmm(m.b, x, m.w.t(), alpha=2),
    "a weight that is no constant": lambda m, x: F.linear(x, x),
    "the weight first": lambda m, x: torch.mm(m.w, x.t()),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(found: Found, name: str) -> None:
    (node,) = found(Linear, Written(SPELLINGS[name], **WEIGHTS), torch.randn(4, 8))
    assert node.target.weight.features == 6
    assert node.target.weight.depth == 8


@pytest.mark.parametrize("name", NEAR)
def test_near_misses(found: Found, name: str) -> None:
    assert not found(Linear, Written(NEAR[name], **WEIGHTS), torch.randn(4, 8))


def heads(m: Written, x: Tensor) -> tuple[Tensor, Tensor]:
    q, k = (F.linear(x, w).view(*x.shape[:-1], 2, 3) for w in (m.w, m.v))
    return q.transpose(1, 2), k.transpose(1, 2)


def whole(m: Written, x: Tensor) -> tuple[Tensor, Tensor]:
    return F.linear(x, m.w).cumsum(0), F.linear(x, m.v).cumsum(0)


def test_layers_that_are_looked_at_in_pieces_are_one_product(found: Found) -> None:
    (node,) = found(Linear, Written(heads, **WEIGHTS), torch.randn(2, 4, 8))
    assert node.target.weight.features == 12


def test_layers_that_are_read_whole_stay_apart(found: Found) -> None:
    nodes = found(Linear, Written(whole, **WEIGHTS), torch.randn(2, 4, 8))
    assert [node.target.weight.features for node in nodes] == [6, 6]
