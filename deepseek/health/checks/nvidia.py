"""NVIDIA devices and their driver."""

from dataclasses import dataclass

from deepseek.health.check import Check, Observation, absent, trouble
from deepseek.health.machine import Machine, plain
from deepseek.health.programs import Ran
from deepseek.health.requirements import Kind, parse_version

__all__ = ["CHECKS", "Gpu", "Graphics", "graphics", "no_gpu"]

_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total",
          "--format=csv,noheader,nounits")  # fmt: skip
_LIMIT = 5.0
_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"
_RELOAD = "nvidia-smi; where it fails, load the driver (modprobe nvidia) or reboot"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One device; its memory in MiB where the driver tells it."""

    name: str
    memory: int | None

    def __str__(self) -> str:
        return self.name if self.memory is None else f"{self.name}, {self.memory / 1024:.0f} GiB"


@dataclass(frozen=True, kw_only=True, slots=True)
class Graphics:
    """What answers, or what is wrong.

    Attributes:
        gpus: The devices.
        driver: The driver's version.
        wrong: Why a device or driver that is there does not answer.
    """

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    wrong: str | None = None


def graphics(machine: Machine) -> Graphics:
    """Ask the driver, once per machine."""
    return machine.once("graphics", lambda: _graphics(machine))


def no_gpu(machine: Machine) -> str | None:
    """Why checks that need a GPU are pointless here, or None."""
    seen = graphics(machine)
    if seen.gpus:
        return None
    return "the NVIDIA driver does not answer" if seen.wrong else "no NVIDIA GPU here"


def _graphics(machine: Machine) -> Graphics:
    ran = machine.program(*_QUERY, limit=_LIMIT)
    if ran.overdue:
        return Graphics(wrong=f"nvidia-smi did not answer within {_LIMIT:g} s")
    if ran.code == 0:
        return _listed(ran)
    if ran.code is None:
        return _kernel_driver(machine) or Graphics(wrong=_silent_device(machine))
    said = plain(ran.out or ran.err) or f"exit code {ran.code}"
    there = _kernel_driver(machine) is not None or _silent_device(machine) is not None
    return Graphics(wrong=f"nvidia-smi: {said}" if there else None)


def _listed(ran: Ran) -> Graphics:
    gpus, drivers = [], []
    for line in filter(None, map(str.strip, ran.out.splitlines())):
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) != 3 or not fields[1][:1].isdecimal():
            return Graphics(wrong=f"nvidia-smi gave no list of devices: {plain(line)!r}")
        name, driver, memory = fields
        gpus.append(Gpu(name=plain(name), memory=int(memory) if memory.isdecimal() else None))
        drivers.append(driver)
    return Graphics(gpus=tuple(gpus), driver=drivers[0] if drivers else None)


def _kernel_driver(machine: Machine) -> Graphics | None:
    """What the kernel module itself says, where nvidia-smi is not installed (containers)."""
    text = machine.text("/proc/driver/nvidia/version")
    if text is None:
        return None
    words = text.partition("\n")[0].split()
    versions = [word for word in words if word[:1].isdecimal() and "." in word]
    names = [
        line.partition(":")[2].strip()
        for file in sorted(machine.path("/proc/driver/nvidia/gpus").glob("*/information"))
        for line in (machine.read(file) or "").splitlines()
        if line.startswith("Model:")
    ]
    gpus = tuple(Gpu(name=plain(name), memory=None) for name in names)
    return Graphics(gpus=gpus, driver=versions[0] if versions else None)


def _silent_device(machine: Machine) -> str | None:
    """A device on the PCI bus that no driver has taken."""
    for device in sorted(machine.path("/sys/bus/pci/devices").glob("*")):
        kind = machine.read(device / "class") or ""
        if machine.read(device / "vendor") == _NVIDIA and kind.startswith(_DISPLAY_CLASS):
            return f"the NVIDIA device at PCI {device.name} has no working driver"
    return None


def _gpu(machine: Machine) -> Observation:
    seen = graphics(machine)
    if seen.wrong:
        return trouble(seen.wrong, fix=_RELOAD, meaning="the GPU cannot be used")
    if not seen.gpus:
        return absent("no NVIDIA GPU here", fix="run on a machine with one, or --profile cpu")
    return Observation(
        found="; ".join(map(str, seen.gpus)),
        value=len(seen.gpus),
        fix="make more visible: docker run --gpus all, or CUDA_VISIBLE_DEVICES",
    )


def _driver(machine: Machine) -> Observation:
    driver = graphics(machine).driver
    if driver is None:
        return absent("no NVIDIA driver")
    fix = "install a newer driver, then reboot: apt-get install nvidia-driver-<version>"
    try:
        return Observation(found=driver, value=parse_version(driver), fix=fix)
    except ValueError as error:
        return trouble(str(error), fix=_RELOAD)


CHECKS = (
    Check(
        id="gpu",
        group="nvidia",
        title="GPU",
        kind=Kind.COUNT,
        expects="NVIDIA GPUs",
        meaning="nothing runs on a GPU",
        look=_gpu,
        limit=_LIMIT + 1,
    ),
    Check(
        id="driver",
        group="nvidia",
        title="driver",
        kind=Kind.VERSION,
        expects="NVIDIA driver",
        meaning="a CUDA runtime newer than the driver knows does not start",
        look=_driver,
        limit=_LIMIT + 1,
        after=("gpu",),
        pointless=(no_gpu,),
    ),
)
