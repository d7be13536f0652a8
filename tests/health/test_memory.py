from collections.abc import Callable

import pytest

from deepseek.health.check import Observation
from deepseek.health.checks import CHECKS
from deepseek.health.checks.memory import memory
from deepseek.health.machine import Machine

Fake = Callable[..., Machine]
BY_ID = {check.id: check for check in CHECKS}

MEMINFO = {"/proc/meminfo": "MemTotal: 10000000 kB\nMemFree: 1000 kB\nMemAvailable: 4000000 kB\n"}
LIMIT = {
    "/proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "/proc/self/cgroup": "0::/\n",
    "/sys/fs/cgroup/memory.max": "2000000000",
    "/sys/fs/cgroup/memory.current": "1900000000",
}
KB = 1024


def look(machine: Machine, check: str) -> Observation:
    return BY_ID[check].look(machine)


def test_memory_of_the_machine(fake: Fake) -> None:
    seen = look(fake(MEMINFO), "memory")
    assert seen.value == 10_000_000 * KB
    assert seen.found == "10.2 GB, 4.1 GB of it available"
    assert seen.fix == "add memory"


def test_memory_of_a_container(fake: Fake) -> None:
    seen = look(fake(MEMINFO | LIMIT), "memory")
    assert seen.value == 2_000_000_000
    assert seen.found == "2.0 GB, the container's limit, 100.0 MB of it available"
    assert "docker run --memory" in seen.fix


def test_a_limit_above_the_machine_is_none(fake: Fake) -> None:
    files = MEMINFO | LIMIT | {"/sys/fs/cgroup/memory.max": "99000000000000"}
    assert memory(fake(files)) == (10_000_000 * KB, 4_000_000 * KB)
    assert "limit" not in look(fake(files), "memory").found


def test_the_swap_buffer_is_told_in_bytes(fake: Fake) -> None:
    seen = look(fake(MEMINFO), "swap_buffer")
    assert seen.value == pytest.approx(0.4)
    assert seen.whole == 10_000_000 * KB
    assert f"the advised 20% is {2_000_000 * KB:,} bytes" in seen.found
    assert f"{4_000_000 * KB:,} are available (40%)" in seen.found


def test_the_swap_buffer_keeps_to_the_container(fake: Fake) -> None:
    seen = look(fake(MEMINFO | LIMIT), "swap_buffer")
    assert seen.value == pytest.approx(0.05)
    assert "the advised 20% is 400,000,000 bytes" in seen.found


@pytest.mark.parametrize("files", [{}, {"/proc/meminfo": "nonsense\nMemTotal: many kB\n"}])
def test_an_unreadable_meminfo(fake: Fake, files: dict[str, str]) -> None:
    assert look(fake(files), "memory").broken
    assert look(fake(files), "swap_buffer").value is None


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        ({"/dev/shm/x": ""}, "mount -o remount,size=8G /dev/shm"),
        ({"/dev/shm/x": "", "/.dockerenv": ""}, "docker run --shm-size=8g …"),
    ],
)
def test_shared_memory(fake: Fake, files: dict[str, str], fix: str) -> None:
    seen = look(fake(files, free=(60_000_000, 64_000_000)), "shm")
    assert (seen.value, seen.found) == (64_000_000, "64.0 MB, 60.0 MB free")
    assert seen.fix == fix


def test_no_shared_memory_at_all(fake: Fake) -> None:
    seen = look(fake(), "shm")
    assert seen.broken
    assert seen.found == "there is no /dev/shm"
