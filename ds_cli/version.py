"""``--version``: the versions that matter, a line each."""

import platform

from deepseek.versions import versions

__all__ = ["version_text"]


def version_text() -> str:
    """One line for the toolkit, one for Python, one for each package it stands on, the system."""
    lines = [f"{name} {number}" for name, number in versions().items()]
    return "\n".join([*lines, f"{platform.system().lower()} {platform.machine()}"])
