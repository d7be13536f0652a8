"""Weights in panels: as they were, wherever they lie, and apart from what they were made of."""

import pytest
import torch

from deepseek.kernels.gemm import pack_weight
from deepseek.kernels.gemm.layout import pack_panels
from deepseek.kernels.int8 import pack_int8

SIZES = [(96, 64), (96, 62), (90, 64), (7, 5), (1, 1), (0, 4), (4, 0)]


def somewhere(n, k, dtype, offset):
    """A weight that begins in the middle of other numbers."""
    numbers = torch.randint(-100, 100, (n * k + offset,)).to(dtype)
    return numbers[offset:].view(n, k)


@pytest.mark.parametrize("offset", [0, 1, 2, 4])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_comes_back(size, dtype, offset):
    weight = somewhere(*size, dtype, offset)
    for each in (weight, weight.t().contiguous().t()):
        packed = pack_weight(each)
        expected = weight.clone()
        assert torch.equal(packed.unpack(), expected)


@pytest.mark.parametrize("offset", [0, 1, 2, 4])
@pytest.mark.parametrize("size", SIZES[:5])
def test_integers_come_back(size, offset):
    weight = somewhere(*size, torch.int8, offset)
    packed = pack_int8(weight, torch.ones(size[0]), rounding="asymmetric")
    assert torch.equal(packed.quantized().integers, weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_panels_are_a_copy(dtype):
    weight = somewhere(96, 64, dtype, 0)
    before = weight.clone()
    panels = pack_panels(weight, 48)
    weight.zero_()
    assert torch.equal(panels.permute(0, 2, 1, 3).reshape(96, 64), before)
