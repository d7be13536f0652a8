"""One trace at a time in a process.

Torch keeps in variables of the whole process whether it is tracing and whether a mode watches each
operator; each trace puts them back to what it found. Threads whose traces overlap would put back
what the other one had set, and leave torch in the belief that it is tracing for good.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["alone"]

_lock = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """Wait for the traces of other threads, Dynamo's too, and keep them waiting."""
    with _lock_of_dynamo(), _lock:  # in the order in which Dynamo comes to ours
        yield


def _lock_of_dynamo() -> AbstractContextManager[Any]:
    """What Dynamo holds while it compiles; it is not imported for that, which takes a second."""
    module = sys.modules.get("torch._dynamo.convert_frame")
    return getattr(module, "compile_lock", nullcontext())


def _renew() -> None:
    """Free the lock in a forked process, where no thread is left that could."""
    global _lock  # noqa: PLW0603 - there is one for the process
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
