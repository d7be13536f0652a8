"""The table that stands in for ``nn.Embedding``."""

import pytest
import torch
from torch import nn

from deepseek.nn.int8_embedding import Int8Embedding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_are_within_half_a_step(dtype):
    torch.manual_seed(0)
    table = nn.Embedding(20, 48, padding_idx=0).to(dtype)
    layer = Int8Embedding.from_embedding(table)
    ids = torch.tensor([[0, 3, 19], [7, 7, 1]])
    found, expected = layer(ids), table(ids)
    assert found.shape == (2, 3, 48)
    assert found.dtype == dtype
    steps = layer.weight_scale[ids].float()
    wide = 0.5 if dtype == torch.float32 else 1.0  # the result is rounded to its type too
    assert ((found - expected).float().abs() <= wide * steps + 1e-6).all()
    assert not found[0, 0].any()


def test_names_and_types():
    state = Int8Embedding.from_embedding(nn.Embedding(5, 8)).state_dict()
    assert {name: (t.dtype, tuple(t.shape)) for name, t in state.items()} == {
        "weight": (torch.int8, (5, 8)),
        "weight_scale": (torch.float32, (5, 1)),
    }


def test_an_id_outside_is_an_error():
    with pytest.raises(IndexError):
        Int8Embedding.from_embedding(nn.Embedding(5, 8))(torch.tensor([5]))


def test_repr_tells_the_sizes():
    assert repr(Int8Embedding(5, 8)) == "Int8Embedding(5, 8)"
