"""The checks behind ``deepseek doctor``: is this machine fit for the work?

Nothing here needs torch, or any package beyond the standard library, to be importable: what is
heavy or may be broken is looked at by programs of its own (``deepseek.health.probes``).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.health.config import DoctorConfig
    from deepseek.health.doctor import examine
    from deepseek.health.github import as_github
    from deepseek.health.junit import as_junit
    from deepseek.health.machine import Machine
    from deepseek.health.report import Report

_HOMES = {
    "DoctorConfig": "deepseek.health.config",
    "Machine": "deepseek.health.machine",
    "Report": "deepseek.health.report",
    "as_github": "deepseek.health.github",
    "as_junit": "deepseek.health.junit",
    "examine": "deepseek.health.doctor",
}

__all__ = ["DoctorConfig", "Machine", "Report", "as_github", "as_junit", "examine"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepseek.health' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
