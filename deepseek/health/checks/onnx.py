"""Execution providers of ONNX Runtime that really run a model.

The wheel for GPUs lists its providers whether or not their libraries are there, and a session
falls back to the CPU with a line on stderr; so each provider is asked to run a tiny model.
"""

import re

from deepseek.health.check import Check, Observation, absent
from deepseek.health.checks.nvidia import no_gpu
from deepseek.health.machine import Machine, ProbeFailure, plain
from deepseek.health.requirements import Kind

__all__ = ["CHECKS"]

_LIMIT = 12.0
_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_SUFFIX = "ExecutionProvider"


def _no_runtime(machine: Machine) -> str | None:
    try:
        machine.probe("onnx_providers", limit=_LIMIT)
    except ProbeFailure:
        return "ONNX Runtime does not import"
    return None


def _cpu(machine: Machine) -> Observation:
    facts = machine.probe("onnx_providers", limit=_LIMIT)
    reason = facts["providers"].get(_CPU, "it is not in this build")
    if reason is None:
        return Observation(found="ran a model", value=True)
    fix = "python -m pip install --force-reinstall onnxruntime"
    return Observation(found=plain(reason), value=False, fix=fix)


def _gpu(machine: Machine) -> Observation:
    facts = machine.probe("onnx_providers", limit=_LIMIT)
    others = {name: why for name, why in facts["providers"].items() if name != _CPU}
    if not others:
        return absent(
            "this build has none", fix="python -m pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )
    states = [
        f"{name.removesuffix(_SUFFIX)}: {_state(name, why, facts['stderr'])}"
        for name, why in others.items()
    ]
    return Observation(
        found="; ".join(states),
        value=others.get(_CUDA, "") is None,
        fix="python -m pip install 'onnxruntime-gpu[cuda,cudnn]'",
    )


def _state(provider: str, reason: str | None, stderr: str) -> str:
    if reason is None:
        return "ran a model"
    library = f"libonnxruntime_providers_{provider.removesuffix(_SUFFIX).lower()}.so"
    match = re.search(rf"{library} with error: ([^:\n]+)", stderr)
    return f"lacks {plain(match[1])}" if match else plain(reason)


CHECKS = (
    Check(
        id="onnx_cpu",
        group="packages",
        title="ONNX on the CPU",
        kind=Kind.FEATURE,
        expects="ONNX Runtime runs a model on the CPU",
        meaning="exported models cannot be compared with their source",
        look=_cpu,
        limit=_LIMIT + 1,
        after=("onnxruntime",),
        pointless=(_no_runtime,),
    ),
    Check(
        id="onnx_gpu",
        group="nvidia",
        title="ONNX on the GPU",
        kind=Kind.FEATURE,
        expects="ONNX Runtime runs a model on its CUDA provider",
        meaning="ONNX Runtime falls back to the CPU and says so on stderr only",
        look=_gpu,
        limit=_LIMIT + 1,
        after=("gpu", "onnxruntime"),
        pointless=(no_gpu, _no_runtime),
    ),
)
