"""How large the processor's caches are, as the system tells it."""

from functools import lru_cache
from pathlib import Path

__all__ = ["cache_bytes"]

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 10, "M": 20}
_USUAL = {2: 512 << 10, 3: 32 << 20}  # where the system does not say


@lru_cache(maxsize=4)
def cache_bytes(level: int) -> int:
    """Size of the first core's cache of a level, 2 or 3; that of level 3 is shared with others."""
    try:
        text = (_CACHES / f"index{level}" / "size").read_text().strip()
    except OSError:
        return _USUAL[level]
    return int(text[:-1]) << _UNITS[text[-1]] if text[-1] in _UNITS else int(text)
