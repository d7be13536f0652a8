"""One order for any number of processes, and positions that any layout goes on from."""

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.data.order.permutation import Permutation
from deepseek.data.order.sampler import ShuffledSampler
from deepseek.errors import InputError

COUNTS, BATCHES, WORLDS = st.integers(1, 300), st.integers(1, 20), st.integers(1, 9)


def flat(batches: Iterable[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


def walk(samplers: list[ShuffledSampler], steps: int | None = None) -> list[int]:
    """The records of all processes in the order of steps, and of ranks within a step."""
    together = zip(*samplers, strict=True)
    return flat(flat(batches) for batches in islice(together, steps))


def ranks(records: Any, world: int, **options: Any) -> list[ShuffledSampler]:
    return [ShuffledSampler(records, rank=rank, world=world, **options) for rank in range(world)]


def order(count: int, seed: int = 0, epoch: int = 0) -> list[int]:
    shuffle = Permutation(count, seed=seed, epoch=epoch)
    return [shuffle[position] for position in range(count)]


@settings(deadline=None)
@given(count=COUNTS, batch=BATCHES, world=WORLDS, seed=st.integers(0, 99))
def test_any_layout_walks_the_same_order(count: int, batch: int, world: int, seed: int) -> None:
    found = walk(ranks(count, world, batch_size=batch, seed=seed))
    expected = order(count, seed)
    assert found[:count] == expected
    # the end may hold a few from the front again, so that all processes take as many steps
    assert len(found) - count < world
    assert found[count:] == [expected[place % count] for place in range(len(found) - count)]


@settings(deadline=None)
@given(count=COUNTS, batch=BATCHES, world=WORLDS)
def test_the_end_can_be_dropped(count: int, batch: int, world: int) -> None:
    found = walk(ranks(count, world, batch_size=batch, drop_last=True))
    assert len(found) == count // (batch * world) * batch * world
    assert found == order(count)[: len(found)]


@settings(deadline=None)
@given(count=COUNTS, batch=BATCHES, world=WORLDS, again=WORLDS, smaller=BATCHES, data=st.data())
def test_a_position_is_gone_on_from_at_another_layout(
    count: int, batch: int, world: int, again: int, smaller: int, data: st.DataObject
) -> None:
    before = ranks(count, world, batch_size=batch, seed=3)
    steps = data.draw(st.integers(0, len(before[0])))
    first = walk(before, steps)[:count]
    states = [json.loads(json.dumps(sampler.state_dict(steps))) for sampler in before]
    assert all(state == states[0] for state in states)

    after = ranks(count, again, batch_size=smaller)
    for sampler in after:
        sampler.load_state_dict(states[0])
    assert (first + walk(after))[:count] == order(count, seed=3)


@settings(deadline=None)
@given(count=COUNTS, batch=BATCHES, world=WORLDS, consumed=st.integers(0, 300))
def test_any_batch_can_be_asked_for(count: int, batch: int, world: int, consumed: int) -> None:
    for sampler in ranks(count, world, batch_size=batch):
        state = sampler.state_dict()
        state["consumed"] = min(consumed, count)
        sampler.load_state_dict(state)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert [sampler.batch(number) for number in range(len(sampler))] == batches
        for number in (-1, len(sampler)):
            with pytest.raises(IndexError, match="expected a batch"):
                sampler.batch(number)


def test_epochs_differ_and_come_back() -> None:
    sampler = ShuffledSampler(1000, batch_size=100)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert flat(sampler) == order(1000, epoch=1)
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_ranges_and_plain_order() -> None:
    sampler = ShuffledSampler(range(100, 110), batch_size=4, shuffle=False)
    assert list(sampler) == [[100, 101, 102, 103], [104, 105, 106, 107], [108, 109]]
    assert sorted(flat(ShuffledSampler(range(100, 110), batch_size=4))) == [*range(100, 110)]
    assert len(ShuffledSampler([0] * 7, batch_size=2)) == 4
    assert sampler.step_records == 4


def test_more_records_than_are_sorted() -> None:
    sampler = ShuffledSampler(2**16 + 1, batch_size=100, rank=1, world=2)
    assert flat(sampler)[:100] == Permutation(2**16 + 1).take(np.arange(100, 200)).tolist()
    assert sampler.batch(2) == Permutation(2**16 + 1).take(np.arange(500, 600)).tolist()


def test_a_long_epoch_is_not_held_in_memory() -> None:
    sampler = ShuffledSampler(10**15, batch_size=3, rank=5, world=8)
    batches = iter(sampler)
    shuffle = Permutation(10**15)
    assert next(batches) == [shuffle[position] for position in (15, 16, 17)]


@pytest.mark.parametrize(
    ("records", "options", "message"),
    [
        (0, {}, "at least one, got range(0, 0)"),
        ([], {}, "at least one"),
        (range(0, 10, 2), {}, "one after the other"),
        (range(-3, 10), {}, "one after the other"),
        (10, {"batch_size": 0}, "got batch size 0"),
        (10, {"rank": 2, "world": 2}, "rank 2 of 2"),
        (10, {"rank": -1}, "rank -1 of 1"),
    ],
)
def test_wrong_arguments(records: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        ShuffledSampler(records, **({"batch_size": 1} | options))
    assert message in caught.value.message


def test_a_position_among_other_records() -> None:
    state = ShuffledSampler(10, batch_size=1).state_dict()
    with pytest.raises(InputError, match="expected a position among the records range"):
        ShuffledSampler(11, batch_size=1).load_state_dict(state)
    state["consumed"] = 11
    with pytest.raises(InputError, match="expected a position from 0 to 10, got 11"):
        ShuffledSampler(10, batch_size=1).load_state_dict(state)
