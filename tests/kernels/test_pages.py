"""Memory that is kept for long: on large pages, shared, and given back."""

import gc
import mmap

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from deepseek.kernels import pages
from deepseek.kernels.pages import LARGE_PAGE, lasting, lasting_cat, lasting_empty

offered = pytest.mark.skipif(
    not hasattr(mmap, "MADV_HUGEPAGE"), reason="the system has no large pages"
)


@pytest.fixture(autouse=True)
def slabs(monkeypatch):
    monkeypatch.setattr(pages, "_slabs", pages._Slabs())


@pytest.mark.parametrize("shape", [(0, 3), (), (5,), (3, 700), (2050, 2051)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_a_copy_holds_the_same_numbers(shape, dtype):
    tensor = (torch.rand(shape) * 100).to(dtype)
    copy = lasting(tensor)
    assert torch.equal(copy, tensor)
    assert copy.dtype == dtype
    assert not copy.numel() or copy.data_ptr() != tensor.data_ptr()


def test_a_copy_is_contiguous_and_has_storage_of_its_own():
    tensor = torch.randn(30, 40).t()
    first, second = lasting(tensor), lasting(tensor)
    assert first.is_contiguous()
    assert torch.equal(first, tensor)
    assert first.untyped_storage().nbytes() == tensor.nbytes
    second.zero_()
    assert torch.equal(first, tensor)


def test_parts_are_laid_one_after_the_other():
    parts = [torch.randn(4, size) for size in (3, 0, 7)]
    assert torch.equal(lasting_cat(parts), torch.cat(parts, -1))


@pytest.mark.parametrize("make", [lasting, lambda x: lasting_cat([x, x])])
def test_tensors_without_memory_stay_so(make):
    with FakeTensorMode() as mode:
        made = make(mode.from_tensor(torch.randn(3, 4)))
    assert made.fake_mode is mode


@offered
def test_small_ones_share_a_large_page():
    first, second = lasting_empty((100,), torch.float32), lasting_empty((3,), torch.uint8)
    assert first.data_ptr() % LARGE_PAGE == 0
    assert second.data_ptr() - first.data_ptr() == 448  # the next multiple of 64


@offered
def test_large_pages_are_asked_for_and_what_is_large_lies_alone(monkeypatch):
    asked = []
    monkeypatch.setattr(pages, "ask_for_large_pages", lambda *block: asked.append(block))
    small = lasting_empty((5,), torch.float32)
    large = lasting_empty((pages._ALONE + 1,), torch.uint8)
    more = lasting_empty((5,), torch.float32)
    assert asked == [(small.data_ptr(), pages._SLAB), (large.data_ptr(), large.nbytes)]
    assert more.data_ptr() - small.data_ptr() == 64


@offered
def test_a_slab_that_is_full_is_followed_by_another():
    size = pages._ALONE
    made = [lasting_empty((size,), torch.uint8) for _ in range(pages._SLAB // size + 1)]
    for number, each in enumerate(made):
        each.fill_(number)
    assert [int(each[-1]) for each in made] == list(range(len(made)))


@offered
def test_memory_is_given_back_with_the_last_tensor():
    first, second = lasting_empty((10,), torch.float32), lasting_empty((10,), torch.float32)
    memory = pages._slabs._memory
    del first
    gc.collect()
    assert memory() is not None
    del second
    gc.collect()
    assert memory() is None
    assert lasting(torch.ones(3)).sum() == 3  # and there is new memory


def test_without_large_pages_there_is_memory_all_the_same(monkeypatch):
    monkeypatch.setattr(pages, "_OFFERED", False)
    assert torch.equal(lasting(torch.ones(3, 4)), torch.ones(3, 4))
    pages._advise.cache_clear()
    pages.ask_for_large_pages(0, 1)
    pages._advise.cache_clear()
