"""How much memory this process holds, now and at most."""

import resource
from pathlib import Path

__all__ = ["peak_bytes", "resident_bytes"]

_PAGE = resource.getpagesize()
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Memory held now."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE
    except OSError:  # no Linux
        return peak_bytes()


def peak_bytes() -> int:
    """The most it ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
