"""The cache folder: that it can be written, and the space beside it."""

from pathlib import Path
from typing import Any

from deepseek.health.check import Check, Observation
from deepseek.health.machine import Machine, ProbeFailure, plain
from deepseek.health.requirements import Kind
from deepseek.units import format_bytes

__all__ = ["CHECKS", "cache_folder"]

_LIMIT = 4.0  # seconds; a network file system whose server is gone never answers


def cache_folder(machine: Machine) -> Path:
    """``$DEEPSEEK_CACHE``, else ``deepseek`` in the user's cache folder."""
    environ = machine.environ
    if environ.get("DEEPSEEK_CACHE"):
        return Path(environ["DEEPSEEK_CACHE"]).expanduser()
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "deepseek"


def _facts(machine: Machine) -> tuple[str, dict[str, Any]]:
    """The folder as it is shown, and what the probe says of it."""
    folder = cache_folder(machine)
    shown = plain(str(folder))
    try:
        return shown, machine.probe("folder", str(folder), limit=_LIMIT)
    except ProbeFailure as error:
        raise ProbeFailure(f"{shown}: {error}", overdue=error.overdue) from error


def _cache(machine: Machine) -> Observation:
    shown, facts = _facts(machine)
    if facts["error"]:
        return Observation(
            found=f"{shown}: {plain(facts['error'])}",
            value=False,
            fix="export DEEPSEEK_CACHE=<a folder of yours>",
        )
    new = "" if facts["there"] else ", will be created"
    return Observation(found=f"{shown} can be written{new}", value=True)


def _disk(machine: Machine) -> Observation:
    shown, facts = _facts(machine)
    return Observation(
        found=f"{format_bytes(facts['free'])} of {format_bytes(facts['total'])} free",
        value=facts["free"],
        fix=f"du -sh {shown}; export DEEPSEEK_CACHE=<a folder on a larger disk>",
    )


CHECKS = (
    Check(
        id="cache",
        group="storage",
        title="cache folder",
        kind=Kind.FEATURE,
        expects="a cache folder that can be written",
        meaning="models and compiled kernels are not kept",
        look=_cache,
        limit=_LIMIT + 1,
    ),
    Check(
        id="disk",
        group="storage",
        title="disk space",
        kind=Kind.BYTES,
        expects="free space for the cache",
        meaning="converted and quantized models do not fit",
        look=_disk,
        limit=_LIMIT + 1,
        after=("cache",),
    ),
)
