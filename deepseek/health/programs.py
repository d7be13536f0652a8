"""Running other programs with a time limit, so that none of them can hold us up."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

__all__ = ["Programs", "Ran", "Run"]

_LAST_WORDS = 0.5  # seconds for a killed program to be collected by the system


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """How a program ended.

    Attributes:
        code: Its exit code, the negative number of the signal that ended it, or None when it
            was never started or had to be ended.
        out: What it wrote to stdout.
        err: What it wrote to stderr; the reason where it could not be started.
        overdue: Whether it was ended because its time was up.
    """

    code: int | None
    out: str = ""
    err: str = ""
    overdue: bool = False


Run = Callable[[Sequence[str], Mapping[str, str], float], Ran]


class Programs:
    """Starts programs, each in a process group of its own, and can end all that still run."""

    def __init__(self) -> None:
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._lock = Lock()
        self._closed = False

    def run(self, command: Sequence[str], environ: Mapping[str, str], limit: float) -> Ran:
        """Run ``command`` for at most ``limit`` seconds; never raises because of the program.

        Args:
            command: Program and arguments; the program is looked up in ``environ``'s PATH.
            environ: Its environment.
            limit: Seconds after which it and everything it started is killed.
        """
        try:
            process = self._start(command, environ)
        except OSError as error:
            return Ran(code=None, err=f"{command[0]}: {error.strerror}")
        overdue = False
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            overdue = True
            out, err = self._end(process)
        finally:
            with self._lock:
                self._alive.discard(process)
        return Ran(
            code=None if overdue else process.returncode,
            out=out.decode(errors="replace"),
            err=err.decode(errors="replace"),
            overdue=overdue,
        )

    def close(self) -> None:
        """Kill every program that still runs; later ones are not started."""
        with self._lock:
            self._closed = True
            alive = list(self._alive)
        for process in alive:
            _kill_group(process)

    def _start(self, command: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise OSError(0, "not started: the run is over")
            process = subprocess.Popen(
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._alive.add(process)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        _kill_group(process)
        try:
            return process.communicate(timeout=_LAST_WORDS)
        except subprocess.TimeoutExpired as error:  # stuck inside the kernel: leave it behind
            return error.stdout or b"", error.stderr or b""


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
