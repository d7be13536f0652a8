from collections.abc import Callable

import pytest

from deepseek.health.check import Observation
from deepseek.health.checks import CHECKS
from deepseek.health.machine import Machine

Fake = Callable[..., Machine]
BY_ID = {check.id: check for check in CHECKS}
FOLDER = "/sys/class/infiniband"


def port(name: str, state: str, layer: str = "InfiniBand") -> dict[str, str]:
    device, number = name.split("/")
    folder = f"{FOLDER}/{device}/ports/{number}"
    return {
        f"{folder}/state": f"{state}\n",
        f"{folder}/link_layer": f"{layer}\n",
        f"{folder}/rate": "200 Gb/sec (4X HDR)\n",
    }


def limits(soft: str) -> dict[str, str]:
    return {
        "/proc/self/limits": "Limit                     Soft Limit           Hard Limit\n"
        f"Max locked memory         {soft}              unlimited            bytes\n"
    }


def look(machine: Machine) -> Observation:
    return BY_ID["rdma"].look(machine)


def test_no_device(fake: Fake) -> None:
    seen = look(fake())
    assert (seen.value, seen.broken, seen.found) == (None, False, "no InfiniBand or RDMA device")


def test_devices_with_ports_that_are_up(fake: Fake) -> None:
    files = port("mlx5_0/1", "4: ACTIVE") | port("mlx5_1/1", "4: ACTIVE", "Ethernet")
    seen = look(fake(files | limits("unlimited")))
    assert seen.value == 2
    assert seen.found == (
        "mlx5_0/1 (InfiniBand, 200 Gb/sec (4X HDR), ACTIVE); "
        "mlx5_1/1 (Ethernet, 200 Gb/sec (4X HDR), ACTIVE)"
    )
    assert seen.caution == ""


def test_two_ports_of_one_device_are_one_device(fake: Fake) -> None:
    assert look(fake(port("mlx4_0/1", "4: ACTIVE") | port("mlx4_0/2", "4: ACTIVE"))).value == 1


@pytest.mark.parametrize("state", ["1: DOWN", "2: INIT", "", "garbage"])
def test_a_port_that_is_not_up(fake: Fake, state: str) -> None:
    seen = look(fake(port("mlx5_0/1", state)))
    assert seen.value == 0
    assert "no port is up" in seen.meaning
    assert "ibstat" in seen.fix


def test_one_of_two_is_up(fake: Fake) -> None:
    assert look(fake(port("mlx5_0/1", "4: ACTIVE") | port("mlx5_1/1", "1: DOWN"))).value == 1


def test_a_device_without_ports(fake: Fake) -> None:
    seen = look(fake({f"{FOLDER}/mlx5_0/node_guid": "0"}))
    assert (seen.value, seen.found) == (0, "mlx5_0")


@pytest.mark.parametrize(("soft", "warned"), [("65536", True), ("unlimited", False)])
def test_memory_that_cannot_be_pinned(fake: Fake, soft: str, warned: bool) -> None:
    seen = look(fake(port("mlx5_0/1", "4: ACTIVE") | limits(soft)))
    assert ("ulimit -l unlimited" in seen.caution) is warned
