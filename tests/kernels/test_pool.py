"""Memory of large results comes back when they are gone, and not before."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from deepseek.kernels import pool as module
from deepseek.kernels.memory import empty
from deepseek.kernels.pool import LARGE, Pool, pooled

MANY = LARGE // 4


@pytest.fixture
def pool(monkeypatch):
    made = Pool()
    monkeypatch.setattr(module, "_pool", made)
    return made


def test_small_ones_are_left_to_torch(pool):
    small = torch.empty(MANY - 1)
    assert pooled(small) is small


def test_a_large_one_looks_as_it_did(pool):
    made = torch.empty_strided((2, MANY, 3), (3, 6, 1), dtype=torch.bfloat16)
    result = pooled(made)
    assert result is not made
    assert (result.shape, result.stride(), result.dtype) == (made.shape, made.stride(), made.dtype)
    assert bool((result.fill_(2.0) == 2.0).all())
    assert result.untyped_storage().nbytes() == made.untyped_storage().nbytes()


def test_memory_is_used_again_when_its_tensor_is_gone(pool):
    first = empty((MANY,), torch.float32)
    place = first.data_ptr()
    second = empty((MANY,), torch.float32)
    assert second.data_ptr() != place
    del first
    assert empty((MANY,), torch.float32).data_ptr() == place


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x[3:],
        lambda x: x.view(2, -1).t(),
        lambda x: x.numpy(),
        lambda x: x.untyped_storage(),
        lambda x: x.detach(),
        torch.nn.Parameter,
    ],
)
def test_who_looks_at_memory_keeps_it(pool, look):
    kept = look(empty((MANY,), torch.float32).fill_(3.0))
    assert pool.free == 0
    other = empty((MANY,), torch.float32).fill_(4.0)
    assert other[0] == 4.0
    if isinstance(kept, torch.Tensor):
        assert bool((kept == 3.0).all())
    del kept
    assert pool.free > 0


def test_memory_of_about_the_size_is_taken(pool):
    sizes = [MANY, 3 * MANY]
    places = [empty((size,), torch.float32).data_ptr() for size in sizes]
    assert empty((2 * MANY,), torch.float32).data_ptr() == places[1]
    again = empty((MANY - 1,), torch.bfloat16)  # too small to be lent any
    assert again.data_ptr() not in places
    assert empty((MANY,), torch.float32).data_ptr() == places[0]


def test_no_more_is_kept_than_that(pool, monkeypatch):
    monkeypatch.setattr(module, "_MOST_FREE", 3 * LARGE)
    held = [empty((MANY,), torch.float32) for _ in range(5)]
    assert pool.free == 0
    held.clear()
    assert 0 < pool.free <= 3 * LARGE


def test_threads_never_share_it(pool):
    wrong = []

    def work(number):
        for _ in range(50):
            mine = empty((MANY,), torch.float32)
            mine[::100_000] = number
            if bool((mine[::100_000] != number).any()):
                wrong.append(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert wrong == []


def test_results_that_are_held_stay_what_they_were(pool):
    from deepseek.kernels import linear, pack_weight

    weight = pack_weight(torch.randn(4096, 8))
    inputs = [torch.randn(512, 8) for _ in range(4)]
    results = [linear(x, weight) for x in inputs]
    copies = [result.clone() for result in results]
    del results[1]
    more = [linear(x, weight) for x in inputs]
    assert all(map(torch.equal, results, [copies[0], *copies[2:]]))
    assert all(map(torch.equal, more, copies))
