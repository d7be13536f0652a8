"""Python's garbage collector, kept away from work that makes many objects which stay.

A graph and what torch makes on the way to it are some hundred thousand objects. At so many the
collector looks through the whole heap, that of torch and transformers too, 0.2 s each time, and
finds next to nothing.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Let no collection begin within a with statement; where they were off they stay off."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
