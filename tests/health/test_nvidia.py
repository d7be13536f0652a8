import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deepseek.health.check import Observation
from deepseek.health.checks import CHECKS, nvidia
from deepseek.health.checks.nvidia import graphics, no_gpu
from deepseek.health.machine import Machine
from deepseek.health.programs import Ran

Fake = Callable[..., Machine]
BY_ID = {check.id: check for check in CHECKS}
TWO = "NVIDIA H100 80GB HBM3, 535.104.05, 81559\nNVIDIA H100 80GB HBM3, 535.104.05, 81559\n"
UNREACHABLE = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
    "Make sure that the latest NVIDIA driver is installed and running.\n"
)
ON_THE_BUS = {
    "/sys/bus/pci/devices/0000:00:1f.0/vendor": "0x8086\n",
    "/sys/bus/pci/devices/0000:00:1f.0/class": "0x030000\n",
    "/sys/bus/pci/devices/0000:3b:00.0/vendor": "0x10de\n",
    "/sys/bus/pci/devices/0000:3b:00.0/class": "0x030200\n",
}
KERNEL = {
    "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  "
    "470.82.01  Wed Oct 27 21:21:55 UTC 2021\nGCC version: gcc 9.3.0\n",
    "/proc/driver/nvidia/gpus/0000:3b:00.0/information": "Model: \t\t Tesla T4\nIRQ: 42\n",
}


def look(machine: Machine, check: str) -> Observation:
    return BY_ID[check].look(machine)


def smi(out: str = "", code: int | None = 0, err: str = "") -> dict[str, Ran]:
    return {"nvidia-smi": Ran(code=code, out=out, err=err)}


def test_two_devices(fake: Fake) -> None:
    machine = fake({}, smi(TWO))
    gpu, driver = look(machine, "gpu"), look(machine, "driver")
    assert gpu.value == 2
    assert gpu.found == "; ".join(["NVIDIA H100 80GB HBM3, 80 GiB"] * 2)
    assert (driver.value, driver.found) == ((535, 104, 5), "535.104.05")
    assert no_gpu(machine) is None


def test_memory_that_the_driver_does_not_tell(fake: Fake) -> None:
    assert look(fake({}, smi("NVIDIA GB10, 580.95.05, [N/A]\n")), "gpu").found == "NVIDIA GB10"


def test_a_name_with_a_comma(fake: Fake) -> None:
    seen = graphics(fake({}, smi("Quadro, rev 2, 535.1, 1024\n")))
    assert [gpu.name for gpu in seen.gpus] == ["Quadro, rev 2"]


def test_no_nvidia_at_all(fake: Fake) -> None:
    machine = fake({"/sys/bus/pci/devices/0000:00:1f.0/vendor": "0x8086\n"})
    seen = look(machine, "gpu")
    assert (seen.value, seen.broken, seen.found) == (None, False, "no NVIDIA GPU here")
    assert no_gpu(machine) == "no NVIDIA GPU here"
    assert look(machine, "driver").value is None


def test_a_tool_without_a_device_is_no_trouble(fake: Fake) -> None:
    seen = look(fake({}, smi(UNREACHABLE, code=9)), "gpu")
    assert (seen.broken, seen.found) == (False, "no NVIDIA GPU here")


@pytest.mark.parametrize("files", [ON_THE_BUS, KERNEL])
def test_a_device_that_its_driver_does_not_reach(fake: Fake, files: dict[str, str]) -> None:
    machine = fake(files, smi(UNREACHABLE, code=9))
    seen = look(machine, "gpu")
    assert seen.broken
    assert seen.found.startswith("nvidia-smi: NVIDIA-SMI has failed because")
    assert "\n" not in seen.found
    assert "reboot" in seen.fix
    assert no_gpu(machine) == "the NVIDIA driver does not answer"


def test_a_driver_of_another_version_than_its_library(fake: Fake) -> None:
    err = "Failed to initialize NVML: Driver/library version mismatch\n"
    seen = look(fake(ON_THE_BUS, smi(code=18, err=err)), "gpu")
    assert seen.found == "nvidia-smi: Failed to initialize NVML: Driver/library version mismatch"


def test_a_device_without_a_driver(fake: Fake) -> None:
    seen = look(fake(ON_THE_BUS), "gpu")
    assert seen.broken
    assert seen.found == "the NVIDIA device at PCI 0000:3b:00.0 has no working driver"


def test_a_container_without_the_tool_asks_the_kernel(fake: Fake) -> None:
    machine = fake(KERNEL)
    assert look(machine, "gpu").found == "Tesla T4"
    assert look(machine, "driver").value == (470, 82, 1)


@pytest.mark.parametrize(
    "out",
    ["Segmentation fault\n", "a, b\n", "<html>,<x>,<y>\n", "\x1b[2J\x00, ?, 5\n", "x, , 1\n"],
)
def test_garbage_is_called_garbage(fake: Fake, out: str) -> None:
    seen = look(fake({}, smi(out)), "gpu")
    assert seen.broken
    assert seen.found.startswith("nvidia-smi gave no list of devices: ")
    assert seen.found.isprintable()


@pytest.mark.parametrize("out", ["", "\n\n"])
def test_an_empty_list_is_no_gpu(fake: Fake, out: str) -> None:
    assert look(fake({}, smi(out)), "gpu").found == "no NVIDIA GPU here"


def test_a_hanging_tool_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(nvidia, "_LIMIT", 0.4)
    machine = Machine(root=tmp_path, environ={"PATH": f"{tmp_path}:{os.defpath}"})
    begin = time.monotonic()
    seen = look(machine, "gpu")
    assert time.monotonic() - begin < 5
    assert seen.broken
    assert seen.found == "nvidia-smi did not answer within 0.4 s"


def test_a_real_program_that_answers(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in *query-gpu=name,driver_version,memory.total*) ;; *) exit 2;; esac\n'
        'echo "Tesla V100-SXM2-16GB, 450.51.05, 16160"\n'
    )
    program.chmod(0o755)
    machine = Machine(root=tmp_path, environ={"PATH": f"{tmp_path}:{os.defpath}"})
    assert look(machine, "gpu").found == "Tesla V100-SXM2-16GB, 16 GiB"
    assert look(machine, "driver").value == (450, 51, 5)
