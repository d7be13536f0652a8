"""Progress from inside a group of processes to whoever started it."""

from collections.abc import Iterator
from contextlib import contextmanager

from deepseek.progress import Progress, silent

__all__ = ["report", "reporting"]

_listener: Progress = silent


def report(stage: str, done: int, total: int | None) -> None:
    """Tell the caller of ``launch`` how far this is; heard from rank 0 only.

    A worker hands this on as its ``progress``.
    """
    _listener(stage, done, total)


@contextmanager
def reporting(progress: Progress) -> Iterator[None]:
    """Let ``progress`` hear the reports made inside."""
    global _listener  # noqa: PLW0603  # one process has one listener
    before, _listener = _listener, progress
    try:
        yield
    finally:
        _listener = before
