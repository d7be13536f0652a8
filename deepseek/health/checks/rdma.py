"""InfiniBand and RDMA devices, as the kernel shows them."""

from dataclasses import dataclass
from pathlib import Path

from deepseek.health.check import Check, Observation, absent
from deepseek.health.machine import Machine
from deepseek.health.requirements import Kind

__all__ = ["CHECKS"]

_DEVICES = "/sys/class/infiniband"
_ENOUGH = 1 << 30  # bytes of memory a process must be able to pin for registered buffers


@dataclass(frozen=True, kw_only=True, slots=True)
class _Port:
    """One port of a device: ``mlx5_0/1``, its state, link layer and rate."""

    name: str
    state: str
    layer: str
    rate: str

    @property
    def active(self) -> bool:
        return self.state.upper().endswith("ACTIVE")

    def __str__(self) -> str:
        details = [part for part in (self.layer, self.rate, self.state) if part]
        return f"{self.name} ({', '.join(details)})"


def _ports(folder: Path) -> list[_Port]:
    def of(port: Path, name: str) -> str:
        return Machine.read(port / name) or ""

    return [
        _Port(
            name=f"{port.parent.parent.name}/{port.name}",
            state=of(port, "state").partition(":")[2].strip(),
            layer=of(port, "link_layer"),
            rate=of(port, "rate"),
        )
        for port in sorted(folder.glob("*/ports/*"))
    ]


def _rdma(machine: Machine) -> Observation:
    folder = machine.path(_DEVICES)
    devices = sorted(device.name for device in folder.glob("*"))
    if not devices:
        return absent("no InfiniBand or RDMA device", fix="lspci | grep -i mellanox; rdma link")
    ports = _ports(folder)
    up = [port for port in ports if port.active]
    found = "; ".join(map(str, ports)) or ", ".join(devices)
    if not up:
        return Observation(found=found, value=0, fix="ibstat; check the cable and subnet manager",
                           meaning="no port is up: nothing goes over RDMA")  # fmt: skip
    return Observation(
        found=found,
        value=len({port.name.partition("/")[0] for port in up}),
        fix="ibstat; check the cable and the subnet manager",
        caution=_pinning(machine),
    )


def _pinning(machine: Machine) -> str:
    for line in (machine.text("/proc/self/limits") or "").splitlines():
        if line.startswith("Max locked memory"):
            soft = line.split()[3]
            if soft.isdecimal() and int(soft) < _ENOUGH:
                return (
                    f"only {int(soft):,} bytes can be pinned, too few for RDMA: ulimit -l unlimited"
                )
    return ""


CHECKS = (
    Check(
        id="rdma",
        group="communication",
        title="RDMA devices",
        kind=Kind.COUNT,
        expects="RDMA devices with a port that is up",
        meaning="gradients between machines go over TCP",
        look=_rdma,
    ),
)
