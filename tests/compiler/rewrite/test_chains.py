"""Two layers of which the second alone reads the first run some rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import deepseek
from deepseek.compiler import operators
from deepseek.compiler.operators import Chain, Linear

if TYPE_CHECKING:
    from tests.compiler.rewrite.conftest import Found


class Mlp(nn.Module):
    def __init__(self, *, residual: bool = True) -> None:
        super().__init__()
        self.up, self.down, self.residual = nn.Linear(24, 96), nn.Linear(96, 24), residual

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.down(nn.functional.gelu(self.up(x)))
        return x + made if self.residual else made


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little may lie between that a few rows are too many."""
    monkeypatch.setattr(operators, "_BETWEEN", 96 * 4 * 5)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("shape", [(2, 3, 24), (4, 9, 24), (31, 24), (1, 24), (2, 1, 7, 24)])
@pytest.mark.parametrize("residual", [False, True])
def test_the_rows_are_those_of_both_layers(
    found: Found, shape: tuple[int, ...], residual: bool
) -> None:
    (chain,) = found(Chain, Mlp(residual=residual), torch.randn(shape))
    assert chain.target.first.activation == "gelu"
    assert len(chain.all_input_nodes) == 1


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_parts_give_what_the_whole_gives(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Mlp().eval(), torch.randn(4, 9, 24)
    compiled = deepseek.compile(model, precision=precision)
    parts = [compiled(x) for _ in range(3)]
    monkeypatch.setattr(operators, "_BETWEEN", 1 << 30)
    whole = deepseek.compile(model, precision=precision)(x)
    for part in parts:
        assert part.dtype == whole.dtype
        torch.testing.assert_close(part, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("little")
def test_memory_holds_a_part(found: Found) -> None:
    compiled = deepseek.compile(Mlp().eval())
    x = torch.randn(50, 40, 24)
    for _ in range(3):
        compiled(x)
    program = compiled.compilations[0].program
    assert program.arena_bytes < 2 * x.nbytes + 4096  # what lies between as a whole takes four


def test_a_result_that_is_read_twice_is_made_whole(found: Found) -> None:
    class Twice(Mlp):
        def forward(self, x: Tensor) -> Any:
            between = self.up(x)
            return self.down(between), between

    assert found(Chain, Twice(), torch.randn(5, 24)) == []
    assert len(found(Linear, Twice(), torch.randn(5, 24))) == 2
