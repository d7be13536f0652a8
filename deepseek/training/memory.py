"""How much memory this process holds, now and at most."""

import resource
import sys
from pathlib import Path

__all__ = ["peak_bytes", "resident_bytes"]

_STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """Memory held now."""
    return _from_status("VmRSS") or peak_bytes()


def peak_bytes() -> int:
    """The most it ever held."""
    # What the system tells of a process counts that of its parent before it became its own.
    own = _from_status("VmHWM")
    if own is not None:
        return own
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _from_status(key: str) -> int | None:
    """A value in bytes; None where the system is no Linux."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), None)
