"""How many processors we may use, how many threads torch starts, and where memory is near."""

from dataclasses import dataclass

from deepseek.health.cgroup import cpu_quota
from deepseek.health.check import Check, Observation, absent
from deepseek.health.checks.torch_facts import TORCH_LIMIT, no_torch, torch_facts
from deepseek.health.machine import Machine, ProbeFailure, plain
from deepseek.health.requirements import Kind

__all__ = ["CHECKS", "Cores", "usable_cores"]

_NODES = "/sys/devices/system/node"
_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/{}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cores:
    """The processors of this process.

    Attributes:
        logical: Those it may run on.
        physical: Cores among them, hyper-threads counted once.
        online: Those of the whole machine.
        quota: Processors' worth of time a control group grants; None without a limit.
    """

    logical: int
    physical: int
    online: int
    quota: float | None

    @property
    def usable(self) -> int:
        """Threads that can really run at once."""
        granted = self.logical if self.quota is None else max(1, int(self.quota))
        return min(self.logical, granted)


def usable_cores(machine: Machine) -> Cores:
    """What affinity and the control groups leave us."""
    logical = len(machine.affinity)
    online = len(parse_list(machine.text("/sys/devices/system/cpu/online") or "")) or logical
    places = {_place(machine, number) for number in machine.affinity}
    return Cores(logical=logical, physical=len(places), online=online, quota=cpu_quota(machine))


def parse_list(text: str) -> frozenset[int]:
    """Numbers as the kernel lists them: ``0-3,8`` is {0, 1, 2, 3, 8}."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal() and (last.isdecimal() or not last):
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _place(machine: Machine, number: int) -> tuple[str, ...]:
    """Socket and core of a logical processor; itself where the kernel does not say."""
    names = ("physical_package_id", "core_id")
    parts = [machine.text(_TOPOLOGY.format(number, name)) for name in names]
    return tuple(part for part in parts if part is not None) or (f"cpu{number}",)


def _cores(machine: Machine) -> Observation:
    cores = usable_cores(machine)
    found = f"{cores.usable} of {cores.online}"
    if cores.physical < cores.logical:
        found += f", {cores.physical} physical"
    if cores.logical < cores.online:
        found += f"; affinity leaves {cores.logical}"
    if cores.quota is not None:
        found += f"; the container's quota is {cores.quota:g}"
    fix = "give the process more processors: docker run --cpus 4, or a wider taskset"
    return Observation(found=found, value=cores.usable, fix=fix)


def _threads(machine: Machine) -> Observation:
    cores = usable_cores(machine)
    setting = plain(machine.environ.get("OMP_NUM_THREADS", ""))
    told = f" (OMP_NUM_THREADS={setting})" if setting else ""
    fix = f"export OMP_NUM_THREADS={cores.usable}"
    if setting and not _is_thread_count(setting):
        found = f"OMP_NUM_THREADS={setting} is no number of threads"
        return Observation(found=found, value=False, fix=fix)
    try:
        threads, who = torch_facts(machine).threads, "torch uses"
    except ProbeFailure:
        if not setting:
            return absent(no_torch(machine) or "torch does not say")
        threads, who = int(setting.split(",")[0]), "OpenMP is told to use"
    found = f"{who} {_plural(threads, 'thread')} on {_plural(cores.usable, 'usable core')}{told}"
    if threads > cores.usable:
        meaning = "threads wait for each other's turn: often several times slower than with fewer"
        return Observation(found=found, value=False, fix=fix, meaning=meaning)
    if threads < min(cores.physical, cores.usable):
        meaning = "some of the cores stay idle"
        return Observation(found=found, value=False, fix=fix, meaning=meaning)
    return Observation(found=found, value=True)


def _is_thread_count(setting: str) -> bool:
    """OpenMP takes one number, or a list of them for nested regions."""
    return all(part.strip().isdecimal() and int(part) > 0 for part in setting.split(","))


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _numa(machine: Machine) -> Observation:
    folder = machine.path(_NODES)
    nodes = {
        int(node.name.removeprefix("node")): parse_list(machine.read(node / "cpulist") or "")
        for node in folder.glob("node[0-9]*")
    }
    if not nodes:
        return absent("the kernel shows no memory nodes")
    ours = sorted(number for number, cpus in nodes.items() if cpus & machine.affinity)
    if len(ours) < 2:
        return Observation(found=f"{_plural(len(nodes), 'memory node')}, we run on one", value=True)
    nearest = ours[0]
    return Observation(
        found=f"we run across memory nodes {', '.join(map(str, ours))}",
        value=False,
        fix=f"numactl --cpunodebind={nearest} --membind={nearest} deepseek …",
    )


CHECKS = (
    Check(
        id="cores",
        group="resources",
        title="usable cores",
        kind=Kind.COUNT,
        expects="usable cores",
        meaning="nothing runs in parallel",
        look=_cores,
    ),
    Check(
        id="threads",
        group="resources",
        title="threads",
        kind=Kind.FEATURE,
        expects="as many threads as there are usable cores",
        meaning="the processors are used badly",
        look=_threads,
        limit=TORCH_LIMIT + 1,
        after=("torch",),
    ),
    Check(
        id="numa",
        group="resources",
        title="NUMA",
        kind=Kind.FEATURE,
        expects="all our processors at one memory node",
        meaning="threads reach for memory of the other socket, at about half the bandwidth",
        look=_numa,
    ),
)
