"""The packages the toolkit stands on: that they import, their versions, and that the JIT works."""

import platform
import sys
from collections.abc import Callable

from deepseek.health.check import Check, Observation, trouble
from deepseek.health.checks.torch_facts import TORCH_LIMIT, torch_facts
from deepseek.health.machine import Machine, ProbeFailure
from deepseek.health.requirements import Kind, parse_version
from deepseek.units import format_seconds

__all__ = ["CHECKS", "onnx_runtime_package"]

_LIMIT = 12.0


def _python(machine: Machine) -> Observation:
    del machine  # the interpreter is ours, whatever the machine looks like
    return Observation(
        found=f"{platform.python_version()} ({sys.executable})",
        value=tuple(sys.version_info[:3]),
        fix="install a Python {spec} and create a new virtual environment with it",
    )


def onnx_runtime_package(machine: Machine) -> str:
    """The distribution that brings ONNX Runtime on this kind of machine."""
    return "onnxruntime-gpu" if machine.architecture.lower() == "x86_64" else "onnxruntime"


def _imported(
    package: Callable[[Machine], str], facts: Callable[[Machine], tuple[str, float]]
) -> Callable[[Machine], Observation]:
    """A look at a package: its version and what importing it took, or why it cannot be."""

    def look(machine: Machine) -> Observation:
        install = f"python -m pip install '{package(machine)}{{spec}}'"
        try:
            version, seconds = facts(machine)
            value = parse_version(version)
        except ProbeFailure as error:
            return _unimportable(error, install)
        except ValueError as error:
            return trouble(str(error), fix=install)
        return Observation(
            found=f"{version}, imported in {format_seconds(seconds)}", value=value, fix=install
        )

    return look


def _unimportable(error: ProbeFailure, install: str) -> Observation:
    if error.overdue:
        meaning = "a first import from a cold disk is slow; one that never gets faster hangs"
        return trouble(str(error), fix="deepseek doctor, once more", meaning=meaning)
    return trouble(str(error), fix=install, meaning="what needs it does not run")


def _probed(probe: str, *arguments: str) -> Callable[[Machine], tuple[str, float]]:
    def facts(machine: Machine) -> tuple[str, float]:
        answer = machine.probe(probe, *arguments, limit=_LIMIT)
        return answer["version"], answer["seconds"]

    return facts


def _torch(machine: Machine) -> tuple[str, float]:
    facts = torch_facts(machine)
    return facts.version, facts.seconds


def _jit(machine: Machine) -> Observation:
    facts = machine.probe("jit", limit=_LIMIT)
    took = format_seconds(facts["compile_seconds"])
    return Observation(
        found=f"LLVM {facts['llvm']} compiled and ran a loop for {facts['processor']} in {took}",
        value=True,
    )


def _no_llvm(machine: Machine) -> str | None:
    try:
        machine.probe("jit", limit=_LIMIT)
    except ProbeFailure as error:
        return "llvmlite does not import" if "llvmlite" in str(error) else None
    return None


def _package(
    name: str,
    title: str,
    use: str,
    facts: Callable[[Machine], tuple[str, float]],
    *,
    limit: float = _LIMIT,
    distribution: Callable[[Machine], str] | None = None,
) -> Check:
    return Check(
        id=name,
        group="packages",
        title=title,
        kind=Kind.VERSION,
        expects=title,
        meaning=f"a version that the toolkit is not tested with: {use} may fail",
        look=_imported(distribution or (lambda _: name), facts),
        limit=limit + 1,
    )


CHECKS = (
    Check(
        id="python",
        group="packages",
        title="Python",
        kind=Kind.VERSION,
        expects="Python",
        meaning="the toolkit does not run",
        look=_python,
    ),
    _package("torch", "torch", "everything with tensors", _torch, limit=TORCH_LIMIT),
    _package("transformers", "transformers", "loading models",
             _probed("package", "transformers")),
    _package("onnxruntime", "ONNX Runtime", "checking exported models",
             _probed("onnx_providers"), distribution=onnx_runtime_package),
    _package("onnx", "onnx", "writing ONNX", _probed("package", "onnx")),
    _package("llvmlite", "llvmlite", "compiling kernels", _probed("jit")),
    Check(
        id="jit",
        group="packages",
        title="LLVM JIT",
        kind=Kind.FEATURE,
        expects="a small loop compiled by LLVM, and its result right",
        meaning="kernels cannot be compiled; hardened kernels forbid memory that can be executed",
        look=_jit,
        limit=_LIMIT + 1,
        after=("llvmlite",),
        pointless=(_no_llvm,),
    ),
)  # fmt: skip
