"""What is known of torch, found by a program of its own so that a broken torch harms nobody."""

from dataclasses import dataclass
from typing import Any

from deepseek.health.machine import Machine, ProbeFailure

__all__ = ["TORCH_LIMIT", "TorchFacts", "no_torch", "torch_facts"]

TORCH_LIMIT = 15.0  # seconds; reading a CUDA build from a cold disk takes most of them


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchFacts:
    """The probe's answer.

    Attributes:
        version: As torch says it, ``2.13.0+cpu``.
        seconds: What importing it took.
        capability: The vector instructions its kernels use here: ``AVX2``.
        threads: Threads that work on one operation.
        cuda: The CUDA version it was built for; None for another build.
        nccl: The version of the NCCL it brings; None where it brings none.
        gloo: The ``seconds`` and ``bytes`` of an all-reduce between two processes, or its
            ``error``; None where torch is built without gloo.
    """

    version: str
    seconds: float
    capability: str
    threads: int
    cuda: str | None
    nccl: list[int] | None
    gloo: dict[str, Any] | None


def torch_facts(machine: Machine) -> TorchFacts:
    """Ask torch, once per machine.

    Raises:
        ProbeFailure: It cannot be imported.
    """
    answer: dict[str, Any] = machine.probe("torch_facts", limit=TORCH_LIMIT)
    known = TorchFacts.__dataclass_fields__
    return TorchFacts(**{key: value for key, value in answer.items() if key in known})


def no_torch(machine: Machine) -> str | None:
    """Why checks that ask torch are pointless here, or None."""
    try:
        torch_facts(machine)
    except ProbeFailure as error:
        return "torch does not answer in time" if error.overdue else "torch does not import"
    return None
