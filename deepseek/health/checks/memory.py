"""Main memory, the part of it to set aside for swapping tensors, and shared memory."""

from deepseek.health.cgroup import memory_limit
from deepseek.health.check import Check, Observation, absent, trouble
from deepseek.health.machine import Machine
from deepseek.health.requirements import Kind
from deepseek.units import format_bytes

__all__ = ["CHECKS", "memory"]

_SHARED = "/dev/shm"  # noqa: S108 - looked at, nothing is written
_ADVISED = 0.20  # of memory, as a buffer for swapping tensors out of a device: the published design


def memory(machine: Machine) -> tuple[int, int] | None:
    """Bytes that we may use at most, and bytes still to be had; None where nobody says."""
    sizes = _meminfo(machine)
    if "MemTotal" not in sizes:
        return None
    total = sizes["MemTotal"]
    left = sizes.get("MemAvailable", sizes.get("MemFree", 0))
    limit = memory_limit(machine)
    if limit is not None:
        total, left = min(total, limit.limit), min(left, limit.left)
    return total, left


def _meminfo(machine: Machine) -> dict[str, int]:
    lines = (machine.text("/proc/meminfo") or "").splitlines()
    fields = (line.replace(":", " ").split() for line in lines)
    return {f[0]: int(f[1]) * 1024 for f in fields if len(f) == 3 and f[1].isdecimal()}


def _memory(machine: Machine) -> Observation:
    seen = memory(machine)
    if seen is None:
        return trouble("/proc/meminfo does not say how much there is")
    total, left = seen
    limit = memory_limit(machine)
    of = "" if limit is None or limit.limit > total else ", the container's limit"
    return Observation(
        found=f"{format_bytes(total)}{of}, {format_bytes(left)} of it available",
        value=total,
        fix="give the container more: docker run --memory 8g" if of else "add memory",
    )


def _swap_buffer(machine: Machine) -> Observation:
    seen = memory(machine)
    if seen is None:
        return absent("/proc/meminfo does not say how much memory there is")
    total, left = seen
    return Observation(
        found=f"the advised {_ADVISED:.0%} is {int(_ADVISED * total):,} bytes; "
        f"{left:,} are available ({left / total:.0%})",
        value=left / total,
        whole=total,
        fix="end what else uses memory; ps aux --sort=-rss | head shows the largest",
    )


def _shared_memory(machine: Machine) -> Observation:
    folder = machine.path(_SHARED)
    if not folder.is_dir():
        return trouble(f"there is no {_SHARED}", fix=f"mount -t tmpfs tmpfs {_SHARED}")
    free, total = machine.free(folder)
    in_container = machine.path("/.dockerenv").exists()
    fix = "docker run --shm-size=8g …" if in_container else f"mount -o remount,size=8G {_SHARED}"
    return Observation(
        found=f"{format_bytes(total)}, {format_bytes(free)} free", value=total, fix=fix
    )


CHECKS = (
    Check(
        id="memory",
        group="resources",
        title="memory",
        kind=Kind.BYTES,
        expects="memory",
        meaning="models do not fit, and the kernel ends the process without a word",
        look=_memory,
    ),
    Check(
        id="swap_buffer",
        group="resources",
        title="swap buffer",
        kind=Kind.SHARE,
        expects="memory kept free for swapping tensors",
        meaning="tensors that do not fit the device have nowhere to go",
        look=_swap_buffer,
    ),
    Check(
        id="shm",
        group="resources",
        title="shared memory",
        kind=Kind.BYTES,
        expects=_SHARED,
        meaning="data loader workers and NCCL end with a bus error once it is full",
        look=_shared_memory,
    ),
)
