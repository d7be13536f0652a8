"""Memory that is kept for long: on large pages, shared, and given back."""

import gc
import mmap
import os
import signal
import time

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from deepseek.kernels import pages
from deepseek.kernels.pages import LARGE_PAGE, lasting, lasting_cat, lasting_empty

offered = pytest.mark.skipif(
    not hasattr(mmap, "MADV_HUGEPAGE"), reason="the system has no large pages"
)


@pytest.fixture(autouse=True)
def announced(monkeypatch):
    parts = []
    monkeypatch.setattr(pages, "_slabs", pages._Slabs())
    monkeypatch.setattr(pages, "gather_later", lambda _, *part: parts.append(part))
    return parts


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
def test_what_is_used_is_announced_and_what_is_large_lies_alone(announced):
    small = lasting_empty((5,), torch.float32)
    large = lasting_empty((pages._ALONE + 1,), torch.uint8)
    more = lasting_empty((5,), torch.float32)
    assert more.data_ptr() - small.data_ptr() == 64
    assert [end - begin for begin, end in announced] == [64, large.nbytes, 128]


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


class Pages:
    """Stands for the system, and notes which pages are gathered."""

    def __init__(self, monkeypatch, wait=0.0):
        self.calls = []
        monkeypatch.setattr(pages, "_LEFT_ALONE", wait)
        monkeypatch.setattr(pages, "_madvise", lambda: self.note)
        self.gathering = pages._Gathering()
        self.memory = mmap.mmap(-1, 32 * LARGE_PAGE)
        self.begin = pages.address_of(self.memory)

    def note(self, address, size, advice):
        page = (address - self.begin) / LARGE_PAGE
        if 0 <= page < 32:  # others' memory may be due at the same time
            self.calls.append(page)
            assert (size, advice) == (LARGE_PAGE, pages._MADV_COLLAPSE)

    def wait(self):
        deadline = time.monotonic() + 10
        while self.gathering._at_work and time.monotonic() < deadline:
            time.sleep(0.001)
        assert not self.gathering._at_work


@offered
def test_pages_are_gathered_in_the_background(monkeypatch):
    system = Pages(monkeypatch)
    system.gathering.announce(system.memory, 0, 2 * LARGE_PAGE + LARGE_PAGE // 2)
    system.gathering.announce(system.memory, 16 * LARGE_PAGE, 17 * LARGE_PAGE - LARGE_PAGE // 2 - 1)
    system.wait()
    assert system.calls == [0, 1, 2]  # what is less than half of a page stays as it is


@offered
def test_who_announces_more_in_time_is_waited_for(monkeypatch):
    system = Pages(monkeypatch, wait=0.2)
    for end in (1, 2, 3):
        system.gathering.announce(system.memory, 0, end * LARGE_PAGE)
    assert system.calls == []
    system.wait()
    assert len(system.calls) == 3
    system.gathering.announce(system.memory, 0, LARGE_PAGE)  # there is a thread again
    system.wait()
    assert len(system.calls) == 4


@offered
def test_memory_that_is_gone_is_not_touched(monkeypatch):
    system = Pages(monkeypatch, wait=0.2)
    system.gathering.announce(system.memory, 0, LARGE_PAGE)
    del system.memory
    system.wait()
    assert system.calls == []


@offered
def test_numbers_survive_it(monkeypatch):
    monkeypatch.setattr(pages, "_LEFT_ALONE", 0.0)
    gathering = pages._Gathering()
    tensor = lasting(torch.arange(3 * LARGE_PAGE // 4, dtype=torch.float32))
    memory = pages._slabs._memory()
    begin = tensor.data_ptr() - pages.address_of(memory)
    gathering.announce(memory, begin, begin + tensor.nbytes)
    while gathering._at_work:
        time.sleep(0.001)
    assert torch.equal(tensor, torch.arange(tensor.numel(), dtype=torch.float32))


def test_without_large_pages_there_is_memory_all_the_same(monkeypatch):
    monkeypatch.setattr(pages, "_OFFERED", False)
    assert torch.equal(lasting(torch.ones(3, 4)), torch.ones(3, 4))
    pages._Gathering().announce(mmap.mmap(-1, 4096), 0, LARGE_PAGE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded")
def test_a_forked_process_is_free_of_locks_that_others_held():
    with pages._slabs._lock, pages._gathering._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            os._exit(int(lasting(torch.ones(5)).sum()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
