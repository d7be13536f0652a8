"""Work that is begun at once by a thread of its own, and done by the time somebody asks for it.

Laying out the weights of a model is copying, which needs neither Python's lock nor much of a
processor, and compiling its kernels needs no weights: they are done side by side.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Later"]

_T = TypeVar("_T")


class Later(Generic[_T]):
    """The result of a function that is called once: by a thread, or by who asks before it did.

    An exception is raised to who asks, after another try on the spot.
    """

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work: Callable[[], _T] | None = work
        self._result: _T
        self._lock = threading.Lock()
        _worker.take(self)

    def __call__(self) -> _T:
        """The result, which is waited for."""
        if self._work is not None:
            with self._lock:
                work = self._work
                if work is not None:  # nobody else was faster
                    self._result = work()
                    self._work = None
        return self._result

    def renew(self) -> None:
        """Forget a thread that had begun and is gone."""
        self._lock = threading.Lock()


class _Worker:
    """A thread that does what was promised, in order, and ends when there is no more."""

    def __init__(self) -> None:
        self._promised: weakref.WeakSet[Later[Any]] = weakref.WeakSet()
        self.begin_anew()

    def begin_anew(self) -> None:
        """A forked process has no such thread, and it may have held locks."""
        self._lock = threading.Lock()
        self._waiting: deque[weakref.ref[Later[Any]]] = deque()
        self._at_work = False
        for promise in tuple(self._promised):
            promise.renew()

    def take(self, promise: Later[Any]) -> None:
        """Have it done."""
        with self._lock:
            self._promised.add(promise)
            self._waiting.append(weakref.ref(promise))
            if not self._at_work:
                self._at_work = True
                threading.Thread(target=self._run, name="deepseek-later", daemon=True).start()

    def _run(self) -> None:
        while (find := self._next()) is not None:
            promise = find()  # None if nobody wants it any more
            if promise is not None:
                with suppress(Exception):  # who asks hears of it
                    promise()
            del promise

    def _next(self) -> weakref.ref[Later[Any]] | None:
        with self._lock:
            self._at_work = bool(self._waiting)
            return self._waiting.popleft() if self._waiting else None


_worker = _Worker()
os.register_at_fork(after_in_child=_worker.begin_anew)
