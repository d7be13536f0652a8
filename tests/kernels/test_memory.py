"""Memory for the results of kernels."""

import pytest
import torch

from deepseek.kernels import memory
from deepseek.kernels.pool import LARGE


@pytest.mark.parametrize("shape", [(0,), (3, 5), (LARGE // 4 + 1000,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_memory_of_that_form(shape, dtype):
    result = memory.empty(shape, dtype)
    assert result.shape == shape
    assert result.dtype == dtype
    assert bool((result.fill_(1.0) == 1.0).all())


def test_strides_may_be_given():
    result = memory.empty((2, 3, 4), torch.float32, (12, 1, 3))
    assert result.stride() == (12, 1, 3)


def test_a_maker_gives_memory_within_its_statement_alone():
    asked = []

    def maker(shape, strides, dtype):
        asked.append((shape, strides, dtype))
        return torch.zeros(shape, dtype=dtype)

    with memory.made_by(maker):
        assert not memory.empty((3,), torch.float32).any()
        with memory.made_by(None):
            memory.empty((4,), torch.float32)
        memory.empty((5, 1), torch.bfloat16, (1, 1))
    memory.empty((6,), torch.float32)
    assert asked == [((3,), None, torch.float32), ((5, 1), (1, 1), torch.bfloat16)]


def test_a_maker_goes_with_its_statement_when_that_fails():
    with pytest.raises(ValueError, match="gone"), memory.made_by(lambda *_: pytest.fail("asked")):
        raise ValueError("gone")
    memory.empty((3,), torch.float32)
