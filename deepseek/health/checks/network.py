"""Whether two processes can add up numbers together."""

from deepseek.health.check import Check, Observation, absent
from deepseek.health.checks.torch_facts import TORCH_LIMIT, no_torch, torch_facts
from deepseek.health.machine import Machine, plain
from deepseek.health.requirements import Kind
from deepseek.units import format_bytes, format_seconds

__all__ = ["CHECKS"]


def _gloo(machine: Machine) -> Observation:
    answer = torch_facts(machine).gloo
    if answer is None:
        return absent("this torch is built without gloo", fix="python -m pip install torch")
    if "error" in answer:
        fix = "ip link set lo up; ulimit -n shows how many sockets may be open"
        return Observation(found=plain(str(answer["error"])), value=False, fix=fix)
    size, took = format_bytes(answer["bytes"]), format_seconds(answer["seconds"])
    return Observation(found=f"two processes added up {size} in {took}", value=True)


CHECKS = (
    Check(
        id="gloo",
        group="communication",
        title="gloo all-reduce",
        kind=Kind.FEATURE,
        expects="an all-reduce between two processes on the loopback device",
        meaning="training in several processes does not work",
        look=_gloo,
        limit=TORCH_LIMIT + 1,
        after=("torch",),
        pointless=(no_torch,),
    ),
)
