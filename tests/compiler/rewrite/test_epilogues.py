"""What follows a linear layer goes into it, where nothing else reads what is between."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import deepseek
from deepseek.compiler.operators import Linear
from tests.compiler.rewrite.conftest import Found, Written

F = torch.nn.functional
WEIGHTS = {"w": torch.randn(8, 8), "v": torch.randn(8, 8)}


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", F.relu), ("silu", F.silu), ("gelu", F.gelu),
        ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")),
    ],
)  # fmt: skip
def test_activations(found: Found, name: str, function: object) -> None:
    model = Written(lambda m, x: function(F.linear(x, m.w)), **WEIGHTS)
    (node,) = found(Linear, model, torch.randn(3, 8))
    assert node.target.activation == name
    assert len(node.args) == 1


INT8 = "int8"


def integers(function: Callable[[Written, Tensor], object]) -> list[str | None]:
    """The activations of the layers of a model that is compiled in INT8."""
    model, x = Written(function, **WEIGHTS).eval(), torch.randn(3, 8)
    compiled = deepseek.compile(model, INT8)
    with torch.no_grad():
        expected = model(x)
    torch.testing.assert_close(compiled(x), expected, rtol=0.1, atol=0.5)
    targets = [node.target for node in compiled.compilations[0].program.graph.nodes]
    return [target.activation for target in targets if isinstance(target, Linear)]


def test_an_activation_that_is_rounded_next_is_coarse() -> None:
    assert integers(lambda m, x: F.linear(F.gelu(F.linear(x, m.w)), m.v)) == ["gelu_coarse", None]
    assert integers(lambda m, x: F.linear(F.relu(F.linear(x, m.w)), m.v)) == ["relu", None]


def test_an_activation_that_is_a_result_too_is_not() -> None:
    def both(m: Written, x: Tensor) -> tuple[Tensor, Tensor]:
        y = F.gelu(F.linear(x, m.w))
        return y, F.linear(y, m.v)

    model = Written(both, **WEIGHTS).eval()
    compiled = deepseek.compile(model, INT8)
    compiled(torch.randn(3, 8))
    targets = [node.target for node in compiled.compilations[0].program.graph.nodes]
    assert [x.activation for x in targets if isinstance(x, Linear)] == ["gelu", None]


def test_a_gate(found: Found) -> None:
    model = Written(lambda m, x: F.silu(F.linear(x, m.w)) * F.linear(x, m.v), **WEIGHTS)
    plain, gate = found(Linear, model, torch.randn(3, 8))
    assert (plain.target.activation, gate.target.activation) == (None, "silu")
    assert gate.args[2] is plain


@pytest.mark.parametrize("first", [True, False])
def test_a_residual(found: Found, first: bool) -> None:
    def both(m: Written, x: Tensor) -> Tensor:
        y = F.linear(x, m.w)
        return x + y if first else y + x

    (node,) = found(Linear, Written(both, **WEIGHTS), torch.randn(3, 8))
    assert len(node.args) == 2


def read_twice(m: Written, x: Tensor) -> tuple[Tensor, Tensor]:
    y = F.linear(x, m.w)
    return F.gelu(y).cumsum(0), y.cumsum(0)


def twice_itself(m: Written, x: Tensor) -> Tensor:
    y = F.linear(x, m.w)
    return y + y


NEAR = {
    "read twice": read_twice,
    "broadcast": lambda m, x: F.linear(x, m.w) + x[:1],
    "scaled sum": lambda m, x: torch.add(F.linear(x, m.w), x, alpha=2),
    "twice itself": twice_itself,
    "of a number": lambda m, x: F.linear(x, m.w) + 1,
    "another activation": lambda m, x: F.elu(F.linear(x, m.w)),
}


@pytest.mark.parametrize("name", NEAR)
def test_near_misses(found: Found, name: str) -> None:
    (node,) = found(Linear, Written(NEAR[name], **WEIGHTS), torch.randn(3, 8))
    assert node.target.activation is None
    assert len(node.args) == 1
