"""The processor and memory limits that a container or service manager puts on us.

Control groups come in two versions, and machines that run both at once exist. A limit on any
group from ours up to the mount point binds, so the tightest one on the way counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepseek.health.machine import Machine

__all__ = ["MemoryLimit", "cpu_quota", "memory_limit"]

_UNLIMITED = 1 << 60  # version 1 writes the largest multiple of the page size for "no limit"


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLimit:
    """Bytes a group may use, and bytes it could still get."""

    limit: int
    left: int


def cpu_quota(machine: Machine) -> float | None:
    """Processors' worth of time that we may use; None without a limit."""
    quotas = [
        *(_quota_v2(folder) for folder in _groups(machine, None)),
        *(_quota_v1(folder) for folder in _groups(machine, "cpu")),
    ]
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit(machine: Machine) -> MemoryLimit | None:
    """The tightest limit on our memory; None without a limit."""
    limits = [
        *(_memory(folder, _V2_MEMORY) for folder in _groups(machine, None)),
        *(_memory(folder, _V1_MEMORY) for folder in _groups(machine, "memory")),
    ]
    there = [limit for limit in limits if limit is not None]
    return min(there, key=lambda limit: limit.limit, default=None)


def _groups(machine: Machine, controller: str | None) -> Iterator[Path]:
    """The folders of our group and of its parents; controller None means version 2."""
    mount = _mount(machine, controller)
    if mount is None:
        return
    mount_point, mount_root = mount
    inside = _relative(_own_group(machine, controller), mount_root)
    top = machine.path(mount_point)
    for folder in (inside, *inside.parents):
        yield top / folder


def _mount(machine: Machine, controller: str | None) -> tuple[str, str] | None:
    """Where a hierarchy is mounted, and which of its groups is the mount's root."""
    for line in (machine.text("/proc/self/mountinfo") or "").splitlines():
        place, _, kind = line.partition(" - ")
        fields, (filesystem, *_, options) = place.split(), kind.split() or [""] * 2
        matches = (
            filesystem == "cgroup2"
            if controller is None
            else filesystem == "cgroup" and controller in options.split(",")
        )
        if matches and len(fields) > 4:
            return fields[4], fields[3]
    return None


def _own_group(machine: Machine, controller: str | None) -> str:
    for line in (machine.text("/proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        is_ours = number == "0" if controller is None else controller in controllers.split(",")
        if is_ours:
            return path
    return "/"


def _relative(group: str, mount_root: str) -> PurePosixPath:
    """Our group seen from the mount; its top where the group lies outside (``/../x``)."""
    path = PurePosixPath(group)
    if ".." in path.parts or not path.is_relative_to(mount_root):
        return PurePosixPath()
    return path.relative_to(mount_root)


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = (Machine.read(folder / "cpu.max") or "").partition(" ")
    return _ratio(quota, period)


def _quota_v1(folder: Path) -> float | None:
    quota = Machine.read(folder / "cpu.cfs_quota_us") or ""
    return _ratio(quota, Machine.read(folder / "cpu.cfs_period_us") or "")


def _ratio(quota: str, period: str) -> float | None:
    if quota.isdecimal() and period.isdecimal() and int(period):
        return int(quota) / int(period)
    return None


_V2_MEMORY = ("memory.max", "memory.current", "inactive_file")
_V1_MEMORY = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _memory(folder: Path, names: tuple[str, str, str]) -> MemoryLimit | None:
    limit_file, usage_file, cache_key = names
    limit = Machine.read(folder / limit_file) or ""
    if not limit.isdecimal() or int(limit) >= _UNLIMITED:
        return None
    usage = Machine.read(folder / usage_file) or "0"
    cache = _statistics(folder).get(cache_key, 0)
    used = int(usage) - cache if usage.isdecimal() else 0
    return MemoryLimit(limit=int(limit), left=max(0, int(limit) - used))


def _statistics(folder: Path) -> dict[str, int]:
    lines = (Machine.read(folder / "memory.stat") or "").splitlines()
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
