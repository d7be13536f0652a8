"""Looks say of tensors what torch says of them, symbols included."""

import pytest
import sympy
import torch
from torch import Tensor
from torch.export import Dim, export

from deepseek.compiler.looks import Look, Symbolic, look_of

N = sympy.Symbol("n", integer=True, positive=True)


class Doubles(torch.nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x.transpose(0, 1) * 2, x.shape[0] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_a_tensor(dtype: torch.dtype) -> None:
    x = torch.zeros(3, 4, 5, dtype=dtype).transpose(0, 2)
    look = look_of(x)
    assert (look.dtype, look.shape, look.strides) == (dtype, (5, 4, 3), (1, 5, 20))
    assert (look.dim(), look.numel(), look.device, look.layout) == (3, 60, x.device, x.layout)
    assert look.permuted((2, 0, 1)) == look_of(x.permute(2, 0, 1))
    assert look.resized((2, 0, 7)) == look_of(torch.zeros(2, 0, 7, dtype=dtype))
    assert look.example().dtype == dtype
    assert look.example().dim() == 3


def test_what_was_captured_with_symbols() -> None:
    shapes = {"x": {0: Dim.AUTO, 1: Dim.AUTO}}
    graph = export(Doubles().eval(), (torch.zeros(3, 4),), dynamic_shapes=shapes).graph
    results = [node.meta["val"] for node in graph.output_node().args[0]]
    turned, tripled = map(look_of, results)
    rows = look_of(next(iter(graph.nodes)).meta["val"]).shape[0]
    assert (str(rows), rows.hint) == (str(rows.expression), 3)
    assert turned.shape[1] == rows
    assert (tripled.expression, tripled.hint) == (3 * rows.expression, 9)


def test_sizes_are_equal_where_their_expressions_are() -> None:
    assert Symbolic(2 * N, 6) == Symbolic(N + N)
    assert Symbolic(N, 3) != Symbolic(2 * N, 3)
    assert Symbolic(N, 3) != 3


def test_products_of_sizes() -> None:
    n = Symbolic(N, 5)
    assert (n * 4 * n).expression == 4 * N**2
    assert (4 * n * n).hint == 100
    assert (n * Symbolic(N)).hint is None
    assert Look(torch.float32, (2, n), (n, 1)).numel() == Symbolic(2 * N)
    assert Look(torch.float32, (), ()).resized((n, 3, n)).strides == (3 * n, n, 1)


def test_other_values_stay_what_they_are() -> None:
    assert look_of((1, None, [torch.zeros(2), True])) == (
        1, None, (Look(torch.float32, (2,), (1,)), True),
    )  # fmt: skip
