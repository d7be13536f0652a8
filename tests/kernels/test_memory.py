"""Memory for large results."""

import mmap

import pytest
import torch

from deepseek.kernels import memory


@pytest.mark.parametrize("shape", [(0,), (3, 5), (memory._LARGE // 4 + 1000,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_memory_of_that_form(shape, dtype):
    result = memory.empty(shape, dtype)
    assert result.shape == shape
    assert result.dtype == dtype
    assert bool((result.fill_(1.0) == 1.0).all())


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="the system has no large pages")
def test_only_large_memory_asks_for_large_pages(monkeypatch):
    asked = []
    monkeypatch.setattr(memory, "_advise", lambda: lambda *block: asked.append(block))
    memory.empty((1000,), torch.float32)
    assert asked == []
    large = memory.empty((memory._LARGE,), torch.float32)
    ((first, size),) = asked
    assert first % mmap.PAGESIZE == 0
    assert large.data_ptr() <= first
    assert first + size == large.data_ptr() + large.nbytes
