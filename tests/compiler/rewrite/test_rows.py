"""Norms and softmax over rows are found, and what differs in one thing is not."""

import pytest
import torch
from torch import Tensor

from deepseek.compiler.operators import Norm, Softmax
from tests.compiler.rewrite.conftest import Found, Written

F = torch.nn.functional
WEIGHTS = {"w": torch.randn(8), "b": torch.randn(8)}


def rms(m: Written, x: Tensor) -> Tensor:
    return m.w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


NORMS = {
    "layer": lambda m, x: F.layer_norm(x, (8,), m.w, m.b),
    "layer without weights": lambda m, x: F.layer_norm(x, (8,)),
    "rms": lambda m, x: F.rms_norm(x, (8,), m.w, 1e-6),
    "rms without epsilon": lambda m, x: F.rms_norm(x, (8,), m.w),
    "written": rms,
    "squared by itself": lambda m, x: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * m.w,
    "one more": lambda m, x: x * torch.rsqrt(x.pow(2).mean(-1, True) + 1e-6) * (1.0 + m.w),
    "without a weight": lambda m, x: x * torch.rsqrt(x.pow(2).mean(-1, True) + 1e-6),
}
NEAR = {
    "over two dimensions": lambda m, x: F.layer_norm(x, (5, 8)),
    "over columns": lambda m, x: x * torch.rsqrt(x.pow(2).mean(-2, keepdim=True) + 1e-6),
    "cubed": lambda m, x: x * torch.rsqrt(x.abs().pow(3).mean(-1, keepdim=True) + 1e-6),
    "of another": lambda m, x: x.flip(0) * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    "weight not constant": lambda m, x: F.layer_norm(x, (8,), x[0, 0], m.b),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms(found: Found, name: str) -> None:
    assert len(found(Norm, Written(NORMS[name], **WEIGHTS), torch.randn(2, 5, 8))) == 1


@pytest.mark.parametrize("name", NEAR)
def test_near_misses_of_norms(found: Found, name: str) -> None:
    assert not found(Norm, Written(NEAR[name], **WEIGHTS), torch.randn(2, 5, 8))


def test_a_sum_goes_into_the_norm(found: Found) -> None:
    model = Written(lambda m, x, y: F.layer_norm(x + y, (8,), m.w, m.b), **WEIGHTS)
    (node,) = found(Norm, model, torch.randn(2, 5, 8), torch.randn(2, 5, 8))
    assert len(node.args) == 2


@pytest.mark.parametrize("kind", ["read elsewhere", "broadcast"])
def test_a_sum_that_does_not_go_into_the_norm(found: Found, kind: str) -> None:
    def both(m: Written, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        total = x + (y if kind == "read elsewhere" else y[:1])
        normed = F.layer_norm(total, (8,), m.w, m.b)
        return (normed, total.cumsum(0)) if kind == "read elsewhere" else (normed, y)

    inputs = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    (node,) = found(Norm, Written(both, **WEIGHTS), *inputs)
    assert len(node.args) == 1


@pytest.mark.parametrize("function", [torch.softmax, torch.log_softmax])
@pytest.mark.parametrize("dim", [-1, 2])
def test_softmax(found: Found, function: object, dim: int) -> None:
    (node,) = found(Softmax, Written(lambda _, x: function(x, dim)), torch.randn(2, 5, 8))
    assert node.target.logarithm == (function is torch.log_softmax)
