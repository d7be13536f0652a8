"""CUDA: what torch was built for, the toolkit, whether they suit the driver, and a computation."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deepseek.health.check import Check, Observation, absent, trouble
from deepseek.health.checks.nvidia import graphics, no_gpu
from deepseek.health.checks.torch_facts import TORCH_LIMIT, no_torch, torch_facts
from deepseek.health.machine import Machine, ProbeFailure, plain
from deepseek.health.requirements import Kind, Version, parse_version, show_version

__all__ = ["CHECKS", "Toolkit", "toolkit"]

# The oldest driver that runs every release of a major version, for Linux (NVIDIA, CUDA
# Compatibility, "Minor Version Compatibility", and the release notes of CUDA 13.0).
_OLDEST_DRIVER = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580, 65, 6)}
_SELECTOR = "the selector at pytorch.org has the command"
_GET_TORCH = f"install a torch built for CUDA {{spec}}; {_SELECTOR}"
_NVCC_LIMIT = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolkit:
    """A CUDA toolkit: its version, and the folder or program that told it."""

    version: Version
    place: str


def toolkit(machine: Machine) -> Toolkit | None:
    """The toolkit that a build would use; None without one.

    Raises:
        ProbeFailure: There is one, and it does not say its version.
    """
    return machine.once("toolkit", lambda: _find_toolkit(machine))


def _find_toolkit(machine: Machine) -> Toolkit | None:
    unreadable = None
    for place in _places(machine):
        folder = machine.path(place)
        version = _version_in(folder)
        if version is not None:
            return Toolkit(version=version, place=plain(place))
        if folder.is_dir():
            unreadable = unreadable or plain(place)
    ran = machine.program("nvcc", "--version", limit=_NVCC_LIMIT)
    match = re.search(r"release (\d+\.\d+)", ran.out)
    if match:
        return Toolkit(version=parse_version(match[1]), place="nvcc")
    if unreadable:
        raise ProbeFailure(f"{unreadable} does not say its version")
    return None


def _places(machine: Machine) -> Iterator[str]:
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if machine.environ.get(name):
            yield machine.environ[name]
    yield "/usr/local/cuda"
    for folder in sorted(machine.path("/usr/local").glob("cuda-*"), reverse=True):
        yield f"/usr/local/{folder.name}"


def _version_in(folder: Path) -> Version | None:
    """From version.json (CUDA 11.1 and later), or version.txt (before)."""
    try:
        table = json.loads(Machine.read(folder / "version.json") or "{}")
        return parse_version(str(table["cuda"]["version"]))
    except (ValueError, KeyError, TypeError):
        text = Machine.read(folder / "version.txt") or ""
    match = re.search(r"CUDA Version (\d+(?:\.\d+)+)", text)
    return parse_version(match[1]) if match else None


def _cuda(machine: Machine) -> Observation:
    facts = torch_facts(machine)
    if facts.cuda is None:
        return absent(f"torch {facts.version} is built without CUDA", fix=_GET_TORCH)
    return Observation(
        found=f"{facts.cuda}, by torch {facts.version}",
        value=parse_version(facts.cuda),
        fix=_GET_TORCH,
    )


def _toolkit(machine: Machine) -> Observation:
    fix = "install a CUDA toolkit {spec} and point CUDA_HOME at it"
    try:
        found = toolkit(machine)
    except ProbeFailure as error:
        return trouble(str(error), fix=fix)
    if found is None:
        return absent("none; torch brings the libraries it needs", fix=fix)
    return Observation(
        found=f"{show_version(found.version)} ({found.place})", value=found.version, fix=fix
    )


def _match(machine: Machine) -> Observation:
    reason, cuda = no_gpu(machine), torch_facts(machine).cuda
    if reason is not None or cuda is None:
        return absent(reason or "torch is built without CUDA")
    runtime = parse_version(cuda)
    for mismatch in (_driver_mismatch(machine, runtime), _toolkit_mismatch(machine, runtime)):
        if mismatch is not None:
            return mismatch
    return Observation(found=f"driver {graphics(machine).driver} runs CUDA {cuda}", value=True)


def _driver_mismatch(machine: Machine, runtime: Version) -> Observation | None:
    driver = graphics(machine).driver
    oldest = _OLDEST_DRIVER.get(runtime[0])
    if driver is None or oldest is None or parse_version(driver) >= oldest:
        return None
    return Observation(
        found=f"driver {driver}; torch's CUDA {show_version(runtime)} needs at least "
        f"{show_version(oldest)}",
        value=False,
        fix=f"install driver {oldest[0]} or later, or a torch built for an older CUDA",
    )


def _toolkit_mismatch(machine: Machine, runtime: Version) -> Observation | None:
    try:
        found = toolkit(machine)
    except ProbeFailure:
        return None
    if found is None or found.version[0] == runtime[0]:
        return None
    return Observation(
        found=f"toolkit {show_version(found.version)} in {found.place}, torch for CUDA "
        f"{show_version(runtime)}",
        value=False,
        fix=f"export CUDA_HOME=/usr/local/cuda-{runtime[0]}",
        meaning="extensions compiled with this toolkit do not load into torch",
    )


def _works(machine: Machine) -> Observation:
    reason = no_gpu(machine)
    if reason is not None:
        return absent(reason)
    if torch_facts(machine).cuda is None:
        fix = f"install a torch built for CUDA; {_SELECTOR}"
        return Observation(found="torch is built without CUDA", value=False, fix=fix)
    facts = machine.probe("cuda", limit=TORCH_LIMIT)
    if facts["problem"]:
        return Observation(found=facts["problem"], value=False, fix="nvidia-smi; dmesg | grep NVRM")
    return Observation(found="; ".join(facts["devices"]), value=True)


_TORCH_ON_GPU = (no_gpu, no_torch)

CHECKS = (
    Check(
        id="cuda",
        group="nvidia",
        title="CUDA of torch",
        kind=Kind.VERSION,
        expects="CUDA",
        meaning="torch does not use the GPU as the profile asks",
        look=_cuda,
        limit=TORCH_LIMIT + 1,
        after=("gpu", "torch"),
        pointless=_TORCH_ON_GPU,
    ),
    Check(
        id="toolkit",
        group="nvidia",
        title="CUDA toolkit",
        kind=Kind.VERSION,
        expects="CUDA toolkit",
        meaning="extensions cannot be compiled for this torch",
        look=_toolkit,
        limit=_NVCC_LIMIT + 2,
        after=("gpu",),
        pointless=(no_gpu,),
    ),
    Check(
        id="cuda_match",
        group="nvidia",
        title="CUDA versions fit",
        kind=Kind.FEATURE,
        expects="driver, torch and toolkit of CUDA versions that fit together",
        meaning="CUDA does not start",
        look=_match,
        limit=TORCH_LIMIT + 1,
        after=("gpu", "torch", "toolkit"),
        pointless=_TORCH_ON_GPU,
    ),
    Check(
        id="cuda_works",
        group="nvidia",
        title="CUDA computes",
        kind=Kind.FEATURE,
        expects="a matrix product on every GPU, and its result right",
        meaning="torch does not use the GPU",
        look=_works,
        limit=TORCH_LIMIT + 1,
        after=("gpu", "torch"),
        pointless=_TORCH_ON_GPU,
    ),
)
