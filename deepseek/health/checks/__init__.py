"""Every check of the doctor, in the order of the report: one table, one file for each concern."""

from deepseek.health.check import Check
from deepseek.health.checks import (
    cores,
    cuda,
    memory,
    nccl,
    network,
    nvidia,
    onnx,
    packages,
    processor,
    rdma,
    storage,
)
from deepseek.health.requirements import Kind

__all__ = ["CHECKS", "GROUPS", "KINDS"]

GROUPS = {
    "processor": "Processor",
    "resources": "Cores and memory",
    "packages": "Packages",
    "nvidia": "NVIDIA",
    "communication": "Communication",
    "storage": "Storage",
}

_MODULES = (processor, cores, memory, packages, nvidia, cuda, onnx, network, nccl, rdma, storage)
_IN_ANY_ORDER: tuple[Check, ...] = tuple(check for module in _MODULES for check in module.CHECKS)

CHECKS: tuple[Check, ...] = tuple(
    check for group in GROUPS for check in _IN_ANY_ORDER if check.group == group
)

KINDS: dict[str, Kind] = {check.id: check.kind for check in CHECKS}
