"""Copies of results keep strides, and share memory where the results did."""

import pytest
import torch
from torch import Tensor

from deepseek.compiler.results import Results

BASE = torch.arange(24.0).reshape(4, 6)
TREES = {
    "dense": [BASE.clone(), BASE.clone().t()],
    "with gaps": [BASE.clone()[:, 1:4]],
    "expanded": [torch.arange(4.0)[None].expand(3, 4)],
    "empty and scalar": [torch.empty(0, 3), torch.tensor(2.5), 7, None],
    "other dtypes": [BASE.clone().view(torch.int32)[1:, ::2], BASE.bool()[:, 1:]],
}


@pytest.mark.parametrize("name", TREES)
def test_copies_lie_as_the_results(name: str) -> None:
    tree = TREES[name]
    for got, expected in zip(Results(tree).copies(), tree, strict=True):
        if not isinstance(expected, Tensor):
            assert got == expected
            continue
        assert torch.equal(got, expected)
        assert got.stride() == expected.stride()
        assert got.numel() == 0 or got.data_ptr() != expected.data_ptr()


def test_views_of_one_another_stay_so() -> None:
    base = BASE.clone()
    results = Results((base, {"row": base[1], "bits": base.view(torch.int32)[2:]}, base[:0]))
    first, second = results.copies(), results.copies()
    first[0].zero_()
    assert not first[1]["row"].any()
    assert not first[1]["bits"].any()
    assert torch.equal(second[0], base)
    assert torch.equal(second[1]["row"], base[1])
    assert torch.equal(base, BASE)
