"""Sums of embeddings are one kernel, with the norm after them; one table alone is ATen's."""

import torch
from torch import Tensor

from deepseek.compiler.operators import Embedding, Norm
from tests.compiler.rewrite.conftest import Found, Written

F = torch.nn.functional
WEIGHTS = {
    "words": torch.randn(20, 8), "places": torch.randn(9, 8), "kinds": torch.randn(2, 8),
    "w": torch.randn(8), "b": torch.randn(8),
}  # fmt: skip


def given() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 20, (3, 5)), torch.arange(5)[None]


def test_two_tables(found: Found) -> None:
    model = Written(lambda m, a, b: F.embedding(a, m.words) + F.embedding(b, m.places), **WEIGHTS)
    (node,) = found(Embedding, model, *given())
    assert len(node.args) == len(node.target.tables) == 2
    assert node.target.eps is None


def test_three_tables_and_a_norm(found: Found) -> None:
    def embed(m: Written, a: Tensor, b: Tensor) -> Tensor:
        rows = F.embedding(a, m.words) + F.embedding(torch.zeros_like(a), m.kinds)
        return F.layer_norm(rows + F.embedding(b, m.places), (8,), m.w, m.b, 1e-6)

    model = Written(embed, **WEIGHTS)
    (node,) = found(Embedding, model, *given())
    assert len(node.target.tables) == 3
    assert node.target.eps == 1e-6
    assert not found(Norm, model, *given())


def test_a_sum_that_is_read_twice_keeps_its_norm(found: Found) -> None:
    def embed(m: Written, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        rows = F.embedding(a, m.words) + F.embedding(b, m.places)
        return F.layer_norm(rows, (8,), m.w, m.b), rows

    model = Written(embed, **WEIGHTS)
    (node,) = found(Embedding, model, *given())
    assert node.target.eps is None
    assert len(found(Norm, model, *given())) == 1


def test_one_table_and_a_scaled_sum_are_left_alone(found: Found) -> None:
    def embed(m: Written, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        words = F.embedding(a, m.words)
        return words, torch.add(words, F.embedding(b, m.places), alpha=2)

    assert not found(Embedding, Written(embed, **WEIGHTS), *given())
