from collections.abc import Callable
from typing import Any

import pytest

from deepseek.health.check import Observation
from deepseek.health.checks import CHECKS
from deepseek.health.checks.cores import parse_list, usable_cores
from deepseek.health.machine import Machine

Fake = Callable[..., Machine]
Answer = Callable[..., dict[str, Any]]
BY_ID = {check.id: check for check in CHECKS}


def quota(cpus: float) -> dict[str, str]:
    return {
        "/proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "/proc/self/cgroup": "0::/\n",
        "/sys/fs/cgroup/cpu.max": f"{int(cpus * 100000)} 100000",
    }


def topology(logical: int, threads_per_core: int = 1) -> dict[str, str]:
    """Logical processor n and n + half are the hyper-threads of one core."""
    cores = logical // threads_per_core
    files = {"/sys/devices/system/cpu/online": f"0-{logical - 1}"}
    for number in range(logical):
        folder = f"/sys/devices/system/cpu/cpu{number}/topology"
        files[f"{folder}/core_id"] = str(number % cores)
        files[f"{folder}/physical_package_id"] = "0"
    return files


def look(machine: Machine, check: str) -> Observation:
    return BY_ID[check].look(machine)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-3,8", {0, 1, 2, 3, 8}), ("0", {0}), ("", set()), ("a-b,2", {2}), ("4-4, 6-7", {4, 6, 7})],
)
def test_lists_of_the_kernel(text: str, numbers: set[int]) -> None:
    assert parse_list(text) == numbers


@pytest.mark.parametrize(
    ("files", "cpus", "usable", "found"),
    [
        (topology(8), range(8), 8, "8 of 8"),
        (topology(8, 2), range(8), 8, "8 of 8, 4 physical"),
        (topology(8), range(3), 3, "3 of 8; affinity leaves 3"),
        (topology(64) | quota(2), range(64), 2, "2 of 64; the container's quota is 2"),
        (topology(64) | quota(2.5), range(64), 2, "2 of 64; the container's quota is 2.5"),
        (topology(4) | quota(0.5), range(4), 1, "1 of 4; the container's quota is 0.5"),
        (topology(4) | quota(16), range(4), 4, "4 of 4; the container's quota is 16"),
        ({}, range(2), 2, "2 of 2"),
    ],
)
def test_usable_cores(
    fake: Fake, files: dict[str, str], cpus: range, usable: int, found: str
) -> None:
    seen = look(fake(files, cpus=cpus), "cores")
    assert (seen.value, seen.found) == (usable, found)


@pytest.mark.parametrize(
    ("files", "threads", "good", "meaning"),
    [
        (topology(8), 8, True, ""),
        (topology(8, 2), 4, True, ""),
        (topology(8, 2), 8, True, ""),
        (topology(8, 2), 3, False, "stay idle"),
        (topology(8), 1, False, "stay idle"),
        (topology(8) | quota(2), 8, False, "wait for each other"),
        (topology(8) | quota(2), 2, True, ""),
        (topology(8, 2) | quota(6), 4, True, ""),
        (topology(8), 16, False, "wait for each other"),
    ],
)
def test_threads_against_cores(
    fake: Fake, torch_answer: Answer, files: dict[str, str], threads: int, good: bool, meaning: str
) -> None:
    machine = fake(files, torch_answer(threads=threads), cpus=range(8))
    seen = look(machine, "threads")
    assert seen.value is good
    assert meaning in seen.meaning
    assert f"torch uses {threads} thread" in seen.found
    assert good or seen.fix == f"export OMP_NUM_THREADS={usable_cores(machine).usable}"


@pytest.mark.parametrize("setting", ["many", "0", "-2", "2,x", "1.5"])
def test_a_senseless_thread_setting(fake: Fake, torch_answer: Answer, setting: str) -> None:
    machine = fake({}, torch_answer(), environ={"OMP_NUM_THREADS": setting})
    seen = look(machine, "threads")
    assert seen.value is False
    assert seen.found == f"OMP_NUM_THREADS={setting} is no number of threads"


def test_the_setting_is_named_beside_what_came_of_it(fake: Fake, torch_answer: Answer) -> None:
    machine = fake({}, torch_answer(threads=2), environ={"OMP_NUM_THREADS": "2,1"})
    assert look(machine, "threads").found.endswith("2 usable cores (OMP_NUM_THREADS=2,1)")


def test_without_torch_the_setting_alone_is_judged(fake: Fake) -> None:
    seen = look(fake(topology(4), cpus=range(4), environ={"OMP_NUM_THREADS": "64"}), "threads")
    assert seen.value is False
    assert seen.found.startswith("OpenMP is told to use 64 threads on 4 usable cores")
    nothing = look(fake(topology(4), cpus=range(4)), "threads")
    assert (nothing.value, nothing.found) == (None, "torch does not import")


@pytest.mark.parametrize(
    ("nodes", "cpus", "good", "found"),
    [
        (["0-3"], range(4), True, "1 memory node, we run on one"),
        (["0-3", "4-7"], range(4), True, "2 memory nodes, we run on one"),
        (["0-3", "4-7"], range(8), False, "we run across memory nodes 0, 1"),
        (["0-3", "4-7", ""], range(4, 8), True, "3 memory nodes, we run on one"),
    ],
)
def test_memory_nodes(fake: Fake, nodes: list[str], cpus: range, good: bool, found: str) -> None:
    files = {f"/sys/devices/system/node/node{n}/cpulist": text for n, text in enumerate(nodes)}
    seen = look(fake(files, cpus=cpus), "numa")
    assert (seen.value, seen.found) == (good, found)
    assert good or seen.fix.startswith("numactl --cpunodebind=0 --membind=0")


def test_a_kernel_without_memory_nodes(fake: Fake) -> None:
    assert look(fake(), "numa").value is None
