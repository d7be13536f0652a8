from collections.abc import Callable

import pytest

from deepseek.health.cgroup import cpu_quota, memory_limit
from deepseek.health.machine import Machine

Fake = Callable[..., Machine]

V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1_MOUNTS = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
)
UNLIMITED_V1 = "9223372036854771712"


def v2(group: str, files: dict[str, str], mount: str = V2_MOUNT) -> dict[str, str]:
    return {
        "/proc/self/mountinfo": "25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw\n" + mount,
        "/proc/self/cgroup": f"0::{group}\n",
        **{f"/sys/fs/cgroup/{name}": text for name, text in files.items()},
    }


def v1(group: str, files: dict[str, str]) -> dict[str, str]:
    return {
        "/proc/self/mountinfo": V1_MOUNTS,
        "/proc/self/cgroup": f"5:cpu,cpuacct:{group}\n4:memory:{group}\n1:name=systemd:/x\n",
        **{f"/sys/fs/cgroup/{name}": text for name, text in files.items()},
    }


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        (v2("/", {"cpu.max": "150000 100000"}), 1.5),
        (v2("/", {"cpu.max": "max 100000"}), None),
        (v2("/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}), 2.0),
        (v2("/a/b", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}), 0.5),
        (v2("/../outside", {"cpu.max": "300000 100000"}), 3.0),
        (v2("/", {"cpu.max": "garbage"}), None),
        (v2("/", {"cpu.max": "100000 0"}), None),
        (v2("/", {}), None),
        (v1("/", {"cpu,cpuacct/cpu.cfs_quota_us": "-1"}), None),
        (
            v1(
                "/docker/1f",
                {
                    "cpu,cpuacct/docker/1f/cpu.cfs_quota_us": "400000",
                    "cpu,cpuacct/docker/1f/cpu.cfs_period_us": "100000",
                    "cpu,cpuacct/cpu.cfs_quota_us": "-1",
                },
            ),
            4.0,
        ),
        ({}, None),
    ],
)
def test_cpu_quota(fake: Fake, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(fake(files)) == quota


def test_a_container_sees_its_group_as_the_root_of_the_mount(fake: Fake) -> None:
    mount = "31 23 0:28 /docker/1f /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    files = v2("/docker/1f/app", {"app/cpu.max": "200000 100000"}, mount)
    assert cpu_quota(fake(files)) == 2.0


def test_both_versions_at_once_and_the_tighter_one_counts(fake: Fake) -> None:
    files = v1("/g", {
        "cpu,cpuacct/g/cpu.cfs_quota_us": "300000",
        "cpu,cpuacct/g/cpu.cfs_period_us": "100000",
        "unified/g/cpu.max": "200000 100000",
    })  # fmt: skip
    files["/proc/self/mountinfo"] += "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    files["/proc/self/cgroup"] += "0::/g\n"
    assert cpu_quota(fake(files)) == 2.0


def test_memory_limit_v2_counts_the_page_cache_as_available(fake: Fake) -> None:
    limit = memory_limit(fake(v2("/app", {
        "app/memory.max": "8000000000",
        "app/memory.current": "5000000000",
        "app/memory.stat": "anon 2000000000\ninactive_file 3000000000\n",
        "memory.max": "max",
    })))  # fmt: skip
    assert limit is not None
    assert (limit.limit, limit.left) == (8_000_000_000, 6_000_000_000)


def test_memory_limit_of_a_parent_binds(fake: Fake) -> None:
    files = v2("/a/b", {"a/b/memory.max": "9000000000", "a/memory.max": "4000000000"})
    limit = memory_limit(fake(files))
    assert limit is not None
    assert limit.limit == limit.left == 4_000_000_000


@pytest.mark.parametrize(("text", "limited"), [(UNLIMITED_V1, False), ("2000000000", True)])
def test_memory_limit_v1(fake: Fake, text: str, limited: bool) -> None:
    limit = memory_limit(fake(v1("/", {
        "memory/memory.limit_in_bytes": text,
        "memory/memory.usage_in_bytes": "500000000",
        "memory/memory.stat": "total_inactive_file 100000000\nbroken line here\n",
    })))  # fmt: skip
    assert (limit is not None) is limited
    if limit is not None:
        assert (limit.limit, limit.left) == (2_000_000_000, 1_600_000_000)


def test_usage_beyond_the_limit_leaves_nothing(fake: Fake) -> None:
    limit = memory_limit(fake(v2("/", {"memory.max": "100", "memory.current": "150"})))
    assert limit is not None
    assert limit.left == 0
