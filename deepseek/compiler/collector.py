"""Python's garbage collector, kept away from work that makes many objects which stay.

A graph and what torch makes on the way to it are some hundred thousand objects. At so many the
collector looks through the whole heap, that of torch and transformers too, 0.2 s each time, and
finds next to nothing. Nor is there a reason to look at them soon afterwards: they are counted among
the objects that have been looked at often, which are next when their number has grown by a quarter.
"""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["uncollected"]

_CHEAP = sys.version_info < (3, 14)  # to freeze objects; then each would be visited


@contextmanager
def uncollected() -> Iterator[None]:
    """Let no collection begin within a with statement; where they were off they stay off."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            _count_among_old_ones()
            gc.enable()


def _count_among_old_ones() -> None:
    """Move all young objects to the oldest generation, unless the user has frozen some for good."""
    if _CHEAP and not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()
