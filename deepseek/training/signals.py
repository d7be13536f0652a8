"""A polite kill ends a run after the step it is in, so that it can be saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["StopRequest", "heeding"]


@dataclass(slots=True)
class StopRequest:
    """Whether somebody asked the run to end."""

    asked: bool = False


@contextmanager
def heeding() -> Iterator[StopRequest]:
    """While inside, SIGTERM asks for an end instead of making one."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(_number: int, _frame: object) -> None:
        request.asked = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
