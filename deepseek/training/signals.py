"""A polite kill, or Ctrl-C, ends a run after the step it is in, so that it can be saved."""

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
    """While inside, the first SIGTERM or SIGINT asks for an end instead of making one."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(_number: int, _frame: object) -> None:
        request.asked = True
        restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        restore()
