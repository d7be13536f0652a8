"""Parts of a tensor are views of it, each by itself."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from tests.compiler.rewrite.conftest import Found, Written

if TYPE_CHECKING:
    from collections.abc import Callable

aten = torch.ops.aten
WAYS: dict[str, Callable[[Tensor], tuple[Tensor, ...]]] = {
    "even": lambda x: x.split(4, -1),
    "uneven": lambda x: x.split([2, 5, 5], 2),
    "with a rest": lambda x: x.split(5, -1),
    "chunks": lambda x: x.chunk(3, dim=-1),
}


@pytest.mark.parametrize("way", WAYS)
def test_splits_become_slices(found: Found, way: str) -> None:
    def function(model: Written, x: Tensor) -> Tensor:
        first, *_, last = WAYS[way](x * model.known)
        return first.sum(-1) * last.cumsum(-1)[..., 0]

    model, x = Written(function, known=torch.randn(12)), torch.randn(2, 5, 12)
    assert found(operator.getitem, model, x) == []
    assert len(found(aten.slice.Tensor, model, x)) == 2


def test_unbinding_becomes_selections(found: Found) -> None:
    def function(_: Written, x: Tensor) -> Tensor:
        q, k, v = x.view(2, 5, 3, 4).permute(2, 0, 1, 3).unbind(0)
        return q @ k.mT @ v[..., None, 0]

    assert found(operator.getitem, Written(function), torch.randn(2, 5, 12)) == []


def test_parts_of_sizes_that_are_not_known_stay(found: Found) -> None:
    def function(_: Written, x: Tensor) -> Tensor:
        return x.chunk(2, dim=1)[0].cumsum(1)

    assert len(found(operator.getitem, Written(function), torch.randn(2, 5, 12))) == 1
