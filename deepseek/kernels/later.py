"""Work that a thread of its own does at once, and whose result is waited for where it is needed.

Laying out the weights of a model is copying, which needs neither Python's lock nor much of a
processor, and compiling its kernels needs no weights: they are done side by side. Nobody does the
work on the spot, even if it has not begun: there, torch may be watched by a mode of the caller's.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Later"]

_T = TypeVar("_T")


class Later(Generic[_T]):
    """The result of a function that a thread calls, or the exception that it raised."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work: Callable[[], _T] | None = work
        self._result: _T
        self._error: Exception | None = None
        self._done = threading.Event()
        _worker.take(self)

    def __call__(self) -> _T:
        """The result, which is waited for.

        Raises:
            Exception: What the function raised.
        """
        if self._work is not None:
            _worker.start()
            self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result

    def settle(self) -> None:
        """Call the function; for the thread."""
        work = self._work
        if work is not None:
            try:
                self._result = work()
            except Exception as error:  # noqa: BLE001 - who asks hears of it
                self._error = error
            self._work = None
            self._done.set()

    def renew(self) -> bool:
        """Forget the threads of another process; whether there is still something to do."""
        self._done = threading.Event()
        return self._work is not None


class _Worker:
    """A thread that does what was promised, in order, and ends when there is no more."""

    def __init__(self) -> None:
        self._promised: weakref.WeakSet[Later[Any]] = weakref.WeakSet()
        self.begin_anew()

    def begin_anew(self) -> None:
        """A forked process has no such thread, and it may have held locks."""
        self._lock = threading.Lock()
        self._at_work = False
        pending = [promise for promise in tuple(self._promised) if promise.renew()]
        self._waiting = deque(map(weakref.ref, pending))

    def take(self, promise: Later[Any]) -> None:
        """Have it done."""
        with self._lock:
            self._promised.add(promise)
            self._waiting.append(weakref.ref(promise))
        self.start()

    def start(self) -> None:
        """See to it that there is a thread as long as something waits."""
        with self._lock:
            if self._waiting and not self._at_work:
                self._at_work = True
                threading.Thread(target=self._run, name="deepseek-later", daemon=True).start()

    def _run(self) -> None:
        while (find := self._next()) is not None:
            promise = find()  # None if nobody wants it any more
            if promise is not None:
                promise.settle()
            del promise

    def _next(self) -> weakref.ref[Later[Any]] | None:
        with self._lock:
            self._at_work = bool(self._waiting)
            return self._waiting.popleft() if self._waiting else None


_worker = _Worker()
os.register_at_fork(after_in_child=_worker.begin_anew)
