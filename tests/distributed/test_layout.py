"""How processes are divided, and what cannot be."""

import subprocess
import sys

import pytest

from deepseek.distributed.layout import Layout, check_wire
from deepseek.errors import InputError


@pytest.mark.parametrize(
    ("world", "strategy", "stages", "replicas", "shards"),
    [
        (1, "gradient", 1, 1, 1),
        (4, "none", 1, 4, 1),
        (4, "optimizer", 2, 2, 1),
        (8, "gradient", 2, 1, 4),
        (6, "full", 3, 1, 2),
        (4, "gradient", 4, 1, 1),
        (2, "hybrid", 1, 1, 2),
        (4, "hybrid", 1, 2, 2),
        (8, "hybrid", 1, 2, 4),
        (6, "hybrid", 1, 2, 3),
        (18, "hybrid", 2, 3, 3),
    ],
)
def test_processes_are_divided(
    world: int, strategy: str, stages: int, replicas: int, shards: int
) -> None:
    layout = Layout.of(world, strategy, stages)
    assert layout == Layout(replicas=replicas, shards=shards, stages=stages)
    assert layout.world_size == world
    assert layout.data_size == world // stages


def test_the_size_of_a_hybrid_group_can_be_said() -> None:
    assert Layout.of(8, "hybrid", shards=2) == Layout(replicas=4, shards=2)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ((4, "none", 3), "got 4 processes and 3 stages", "use 2 or 4 stages, or 3 or 6 processes"),
        ((2, "none", 4), "got 2 processes and 4 stages", "use 2 stages, or 4 processes"),
        ((5, "full", 2), "got 5 processes and 2 stages", "use 1 or 5 stages, or 4 or 6 processes"),
        ((4, "zero3"), "expected a sharding strategy, got 'zero3'", "none, optimizer, gradient"),
        ((0, "none"), "at least one process", None),
        ((4, "none", 0), "0 stages", None),
        ((4, "none", -2), "-2 stages", None),
    ],
)
def test_what_cannot_be_divided_is_refused_with_the_nearest_that_can(
    arguments: tuple[object, ...], message: str, hint: str | None
) -> None:
    with pytest.raises(InputError) as caught:
        Layout.of(*arguments)
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_shards_must_divide_and_need_hybrid() -> None:
    with pytest.raises(InputError, match="use 1 or 2 or 4 or 8 shards"):
        Layout.of(8, "hybrid", shards=3)
    with pytest.raises(InputError, match="expected the hybrid strategy"):
        Layout.of(8, "full", shards=2)


@pytest.mark.parametrize("strategy", ["none", "optimizer"])
def test_only_sharded_strategies_have_a_wire_precision(strategy: str) -> None:
    check_wire(strategy, "fp32")
    with pytest.raises(InputError, match="gradient, full, hybrid"):
        check_wire(strategy, "bf16")
    check_wire("gradient", "int8")
    with pytest.raises(InputError, match="expected a wire precision, got 'fp4'"):
        check_wire("gradient", "fp4")


def test_choices_cost_no_import_of_torch() -> None:
    script = (
        "import sys\n"
        "from deepseek.distributed import Layout, Strategy, micro_batches\n"
        "assert micro_batches(8, 4) == 4 and Layout.of(4, 'gradient').shards == 4\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_exists() -> None:
    import deepseek.distributed as room

    assert sorted(room.__all__) == dir(room)
    assert all(getattr(room, name) is not None for name in room.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'shrd'"):
        _ = room.shrd
