"""Results in order, a few chunks at a time, and no process left behind."""

import os
import signal
import time
from collections.abc import Iterator
from itertools import islice

import psutil
import pytest

from deepseek.data.packing.parallel import ordered_map
from deepseek.errors import InputError


def squared(number: int) -> int:
    time.sleep(0.002 * (number % 3))
    return number * number


def failing(number: int) -> int:
    if number == 5:
        raise InputError("expected another number", hint="not 5")
    return number


def dying(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def children() -> list[psutil.Process]:
    names = ("spawn_main",)
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if any(name in " ".join(child.cmdline()) for name in names)
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order(workers: int) -> None:
    assert list(ordered_map(squared, range(40), workers)) == [n * n for n in range(40)]
    assert children() == []


def test_chunks_are_taken_a_few_at_a_time() -> None:
    taken: list[int] = []

    def chunks() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = ordered_map(squared, chunks(), 1)
    assert list(islice(results, 5)) == [0, 1, 4, 9, 16]
    assert len(taken) < 10
    results.close()
    assert children() == []


def test_errors_arrive_whole() -> None:
    with pytest.raises(InputError) as caught:
        list(ordered_map(failing, range(10), 1))
    assert (caught.value.message, caught.value.hint) == ("expected another number", "not 5")
    assert children() == []


def test_a_killed_worker_is_noticed() -> None:
    with pytest.raises(InputError, match="one of them was killed"):
        list(ordered_map(dying, range(10), 1))
