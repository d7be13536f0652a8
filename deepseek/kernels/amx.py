"""Permission to use AMX, which Linux gives a process that asks: its tiles are 8 KiB of state."""

import ctypes
import platform
import sys
from functools import lru_cache

__all__ = ["allowed"]

_ARCH_PRCTL, _REQUEST_PERMISSION, _TILES = 158, 0x1023, 18  # of Linux on x86-64


@lru_cache(maxsize=1)
def allowed() -> bool:
    """Whether this process may use AMX; the first call asks for it, for all threads."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    syscall = ctypes.CDLL(None).syscall
    syscall.restype = ctypes.c_long
    arguments = (_ARCH_PRCTL, _REQUEST_PERMISSION, _TILES)
    return bool(syscall(*map(ctypes.c_long, arguments)) == 0)
