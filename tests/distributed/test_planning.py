"""Bytes and idle time told beforehand: against formulas here, against counters in test_wire."""

import pytest

from deepseek.distributed.layout import Layout
from deepseek.distributed.planning import bubble, wire_bytes
from deepseek.distributed.schedules import SCHEDULES


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "interleaved", "bfs"])
@pytest.mark.parametrize(("stages", "count"), [(2, 2), (4, 4), (4, 16), (3, 9)])
def test_whole_backward_passes_leave_the_known_bubble(
    schedule: str, stages: int, count: int
) -> None:
    assert bubble(schedule, stages, count) == pytest.approx((stages - 1) / (count + stages - 1))


def test_more_parts_a_process_shrink_the_bubble() -> None:
    # Narayanan et al. 2021: the bubble's time is divided by the number of parts.
    assert bubble("interleaved", 4, 8, chunks=2) == pytest.approx(3 / (2 * 8 + 3))


def test_zero_bubble_schedules_wait_less() -> None:
    found = {schedule: bubble(schedule, 4, 8) for schedule in SCHEDULES}
    assert found["interleaved_zero_bubble"] == pytest.approx(1 / 9)  # a third of 3 / 11, and less
    assert found["zbv"] < found["interleaved_zero_bubble"] < found["1f1b"]
    assert found["dualpipev"] == pytest.approx(found["zbv"])


@pytest.mark.parametrize(
    ("strategy", "wire", "share"),
    [
        ("none", "fp32", 1.5),
        ("optimizer", "fp32", 2.25),
        ("gradient", "fp32", 1.5),
        ("gradient", "bf16", 1.125),
        ("gradient", "int8", 0.75 + 0.75 * 260 / 1024),
        ("full", "fp32", 2.25),
        ("full", "bf16", 1.875),
        ("hybrid", "fp32", 2.0),
    ],
)
def test_bytes_of_four_processes(strategy: str, wire: str, share: float) -> None:
    layout = Layout.of(4, strategy)
    assert wire_bytes(1000, layout, strategy, wire) == pytest.approx(1000 * share)


def test_one_process_sends_nothing() -> None:
    for strategy in ("none", "optimizer", "gradient", "full", "hybrid"):
        assert wire_bytes(1000, Layout(), strategy) == 0


@pytest.mark.parametrize(
    ("strategy", "stages", "count", "schedule", "share"),
    [
        # Counted with four processes in a network of their own, within 1 %.
        ("full", 2, 2, "interleaved", 2.0),
        ("full", 2, 4, "interleaved", 3.0),
        ("full", 2, 4, "zbv", 1.0),
        ("hybrid", 2, 4, "gpipe", 3.0),
        ("gradient", 2, 4, "interleaved", 1.0),
        ("none", 2, 4, "interleaved", 1.0),
        ("full", 1, 3, "interleaved", 5.25),
        ("gradient", 1, 3, "interleaved", 1.5),
    ],
)
def test_bytes_of_many_micro_batches(
    strategy: str, stages: int, count: int, schedule: str, share: float
) -> None:
    layout = Layout.of(4, strategy, stages)
    told = wire_bytes(1.0, layout, strategy, micro_batches=count, schedule=schedule)
    assert told == pytest.approx(share)
