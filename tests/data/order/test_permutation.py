"""A shuffle without a table: each number once, no order left, the same on every machine."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from deepseek.data.order import permutation
from deepseek.data.order.permutation import Permutation
from deepseek.errors import InputError

SEEDS = st.integers(-(2**70), 2**70)


@settings(deadline=None, max_examples=60)
@given(count=st.integers(1, 200_000), seed=SEEDS, epoch=st.integers(0, 2**40))
def test_each_number_comes_once(count: int, seed: int, epoch: int) -> None:
    taken = Permutation(count, seed=seed, epoch=epoch).take(np.arange(count))
    assert np.array_equal(np.sort(taken), np.arange(count))


@settings(deadline=None)
@given(count=st.integers(2**17, 2**62), data=st.data())
def test_long_ranges_give_different_numbers_within(count: int, data: st.DataObject) -> None:
    positions = data.draw(st.sets(st.integers(0, count - 1), min_size=2, max_size=50))
    shuffle = Permutation(count, seed=data.draw(SEEDS))
    taken = shuffle.take(np.array(sorted(positions)))
    assert len(set(taken.tolist())) == len(positions)
    assert 0 <= taken.min() <= taken.max() < count
    assert [shuffle[position] for position in sorted(positions)] == taken.tolist()


def test_a_bijection_without_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permutation, "_SORTED_UP_TO", 0)
    for count in (1, 2, 3, 5, 64, 65, 1000):
        taken = Permutation(count, seed=1).take(np.arange(count))
        assert sorted(taken.tolist()) == list(range(count))


def test_the_order_never_changes() -> None:
    """Saved positions mean these orders; a change here makes runs resume at other records."""
    assert Permutation(10, seed=0).take(np.arange(10)).tolist() == [8, 5, 4, 1, 9, 0, 2, 6, 7, 3]
    long = Permutation(10**9, seed=7, epoch=3).take(np.arange(4))
    assert long.tolist() == [825388014, 424203950, 922466409, 664794470]


def test_seed_and_epoch_make_the_order() -> None:
    orders = {
        tuple(Permutation(100, seed=seed, epoch=epoch).take(np.arange(100)).tolist())
        for seed in range(20)
        for epoch in range(20)
    }
    assert len(orders) == 400
    one, other = (Permutation(10**6, seed=5, epoch=2).take(np.arange(1000)) for _ in range(2))
    assert_array_equal(one, other)


def chi_square(found: NDArray[np.float64], expected: float) -> float:
    """How far counts lie from the expected, in standard deviations of the chi-square law."""
    freedom = found.size - 1
    return float(((found - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5


def test_all_orders_of_a_few_are_equally_likely() -> None:
    orders = Counter(
        tuple(Permutation(4, seed=seed).take(np.arange(4)).tolist()) for seed in range(2400)
    )
    counts = np.array([orders[order] for order in permutations(range(4))])
    assert abs(chi_square(counts, 100)) < 4


@pytest.mark.parametrize("count", [50, 257])
@pytest.mark.parametrize("sorted_up_to", [0, 2**16])
def test_every_number_is_equally_likely_everywhere(
    count: int, sorted_up_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permutation, "_SORTED_UP_TO", sorted_up_to)
    counts = np.zeros((count, count))
    for epoch in range(1000):
        counts[np.arange(count), Permutation(count, epoch=epoch).take(np.arange(count))] += 1
    assert abs(chi_square(counts, 1000 / count)) < 5


def test_neighbours_do_not_stay_together() -> None:
    taken = Permutation(10**6, seed=0).take(np.arange(10**6))
    assert abs(np.corrcoef(taken[:-1], taken[1:])[0, 1]) < 0.005
    assert abs(np.corrcoef(taken, np.arange(10**6))[0, 1]) < 0.005
    assert (np.abs(np.diff(taken)) == 1).sum() < 15  # 2 are expected


@pytest.mark.parametrize("count", [0, -1, 2**62 + 1])
def test_impossible_counts(count: int) -> None:
    with pytest.raises(InputError, match="numbers to shuffle"):
        Permutation(count)


def test_positions_outside() -> None:
    shuffle = Permutation(10)
    assert len(shuffle) == 10
    for position in (-1, 10):
        with pytest.raises(IndexError, match="expected a position from 0 to 9"):
            shuffle[position]
