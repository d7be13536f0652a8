"""Parts of a pipeline, and how a batch divides into micro-batches."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.distributed.schedules import (
    SCHEDULES,
    check_micro_batches,
    micro_batches,
    parts_of,
    stage_count,
)
from deepseek.errors import InputError


@pytest.mark.parametrize(
    ("schedule", "chunks", "parts"),
    [
        ("interleaved", 1, [(0,), (1,), (2,)]),
        ("interleaved", 2, [(0, 3), (1, 4), (2, 5)]),
        ("1f1b", 1, [(0,), (1,), (2,)]),
        ("zbv", 1, [(0, 5), (1, 4), (2, 3)]),
        ("dualpipev", 1, [(0, 5), (1, 4), (2, 3)]),
    ],
)
def test_parts_are_given_out(schedule: str, chunks: int, parts: list[tuple[int, ...]]) -> None:
    assert [parts_of(schedule, place, 3, chunks) for place in range(3)] == parts
    assert stage_count(schedule, 3, chunks) == sum(len(part) for part in parts)


@pytest.mark.parametrize(("schedule", "chunks"), [("1f1b", 2), ("zbv", 2), ("interleaved", 0)])
def test_a_schedule_takes_only_its_number_of_parts(schedule: str, chunks: int) -> None:
    with pytest.raises(InputError, match=f"expected one part a process with schedule {schedule}"):
        stage_count(schedule, 4, chunks)


@pytest.mark.parametrize(
    ("batch", "stages", "count"),
    [(8, 4, 4), (256, 4, 4), (1024, 4, 4), (1280, 4, 5), (2048, 4, 8), (512, 1, 2), (10, 4, 5),
     (2304, 4, 12)],
)  # fmt: skip
def test_the_rule_of_the_article(batch: int, stages: int, count: int) -> None:
    assert micro_batches(batch, stages) == count


@given(st.integers(1, 3000), st.integers(1, 6), st.sampled_from(sorted(SCHEDULES)))
def test_micro_batches_are_equal_and_suit_the_schedule(
    batch: int, stages: int, schedule: str
) -> None:
    kind = SCHEDULES[schedule]
    least = max(kind.fill * stages, ceil(batch / 256))
    try:
        count = micro_batches(batch, stages, schedule)
    except InputError as error:
        # The hint, where it names a batch, names one that works.
        enough = int(error.hint.split("use a batch of ")[1].split()[0])
        assert enough > batch
        assert micro_batches(enough, stages, schedule) >= kind.fill * stages
        return
    assert count >= least
    assert batch % count == 0
    if kind.rounds:
        assert count % max(1, count // stages) == 0


def test_too_small_a_batch_is_refused() -> None:
    with pytest.raises(InputError, match=r"at least 4 rows.*got 3.*use a batch of 4 or more"):
        micro_batches(3, 4)
    with pytest.raises(InputError, match="at least 8 rows"):
        micro_batches(7, 4, "dualpipev")


def test_a_batch_that_does_not_divide_is_refused_with_one_that_does() -> None:
    with pytest.raises(InputError, match=r"got 11 rows.*use a batch of 12"):
        micro_batches(11, 4)
    assert micro_batches(11, 4, "gpipe") == 11


def test_a_number_of_micro_batches_may_be_asked_for() -> None:
    assert check_micro_batches(8, 32, 4) == 8
    with pytest.raises(InputError, match=r"divide 32 rows, at least 4.*got 3.*use 4 micro-batches"):
        check_micro_batches(3, 32, 4)
    with pytest.raises(InputError, match=r"got 7.*use 8 micro-batches"):
        check_micro_batches(7, 32, 4)
    with pytest.raises(InputError, match="use a larger batch"):
        check_micro_batches(2, 2, 4)
