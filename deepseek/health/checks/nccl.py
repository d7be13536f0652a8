"""NCCL: the version torch brings, and the one that is installed on the system."""

import re
from collections.abc import Iterator
from pathlib import Path

from deepseek.health.check import Check, Observation, absent, trouble
from deepseek.health.checks.nvidia import no_gpu
from deepseek.health.checks.torch_facts import TORCH_LIMIT, no_torch, torch_facts
from deepseek.health.elf import ElfError, matching_constant
from deepseek.health.machine import Machine
from deepseek.health.requirements import Kind, parse_version

__all__ = ["CHECKS"]

# The library also holds sentences such as "NCCL version information": a number must follow.
_SIGNATURE = re.compile(rb"NCCL version (\d+\.\d+[^\0\s]*)\0")
_FOLDERS = (
    "/usr/local/lib",
    "/usr/local/cuda/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
)


def _torch_nccl(machine: Machine) -> Observation:
    facts = torch_facts(machine)
    fix = "install a torch built for CUDA that brings NCCL {spec}"
    if facts.nccl is None:
        return absent(f"torch {facts.version} is built without NCCL", fix=fix)
    version = ".".join(map(str, facts.nccl))
    return Observation(found=f"{version}, part of torch", value=tuple(facts.nccl), fix=fix)


def _system_nccl(machine: Machine) -> Observation:
    library = next(_libraries(machine), None)
    if library is None:
        return absent("no libnccl.so among the system's libraries; torch brings its own")
    fix = "apt-get install libnccl2, or remove it: torch brings its own"
    shown = _shown(machine, library)
    try:
        version = matching_constant(library, _SIGNATURE)
        if version is None:
            return trouble(f"{shown} does not say its version", fix=fix)
        return Observation(found=f"{version} ({shown})", value=parse_version(version), fix=fix)
    except OSError as error:
        return trouble(f"{shown}: {error.strerror}", fix=fix)
    except ElfError as error:
        return trouble(f"{shown} {error}", fix=fix)


def _libraries(machine: Machine) -> Iterator[Path]:
    """Every libnccl the loader could find, in the order in which it looks."""
    for folder in (*_asked_for(machine), *_configured(machine), *_FOLDERS):
        yield from sorted(machine.path(folder).glob("libnccl.so*"))


def _asked_for(machine: Machine) -> list[str]:
    return [part for part in machine.environ.get("LD_LIBRARY_PATH", "").split(":") if part]


def _configured(machine: Machine) -> list[str]:
    files = sorted(machine.path("/etc/ld.so.conf.d").glob("*.conf"))
    lines = [line for file in files for line in (machine.read(file) or "").splitlines()]
    return [line.strip() for line in lines if line.strip().startswith("/")]


def _shown(machine: Machine, path: Path) -> str:
    return f"/{path.relative_to(machine.root)}"


CHECKS = (
    Check(
        id="nccl",
        group="communication",
        title="NCCL of torch",
        kind=Kind.VERSION,
        expects="NCCL",
        meaning="GPUs cannot exchange gradients",
        look=_torch_nccl,
        limit=TORCH_LIMIT + 1,
        after=("gpu", "torch"),
        pointless=(no_gpu, no_torch),
    ),
    Check(
        id="system_nccl",
        group="communication",
        title="NCCL of the system",
        kind=Kind.VERSION,
        expects="NCCL",
        meaning="programs that load the system's NCCL instead of torch's get an old one",
        look=_system_nccl,
        limit=5.0,
        after=("gpu",),
        pointless=(no_gpu,),
    ),
)
