"""The machine as a check sees it: files, environment, programs. Every part can be replaced."""

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast

from deepseek.health.programs import Programs, Ran, Run

__all__ = ["Machine", "ProbeFailure", "plain"]

T = TypeVar("T")

_PROBES = Path(__file__).parent / "probes"
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_LONGEST = 300


class ProbeFailure(Exception):  # noqa: N818 - what failed is the probe, not we
    """A probe did not come back with facts.

    Args:
        reason: Why, in one line.
        overdue: Whether it took too long.
    """

    def __init__(self, reason: str, *, overdue: bool = False) -> None:
        super().__init__(reason)
        self.overdue = overdue


def plain(text: str) -> str:
    """One printable line of at most 300 characters out of whatever a program wrote."""
    line = " ".join(_UNPRINTABLE.sub(" ", text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _affinity() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Machine:
    """What checks look at.

    Attributes:
        root: Where the file system begins.
        environ: The environment variables, also those of every program that is run.
        architecture: As ``uname -m`` says it: ``x86_64``, ``aarch64``.
        affinity: The logical processors this process may run on.
        free: Free and total bytes of the file system that holds a folder.
        run: Runs a program: command, environment, seconds.
    """

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    architecture: str = field(default_factory=platform.machine)
    affinity: frozenset[int] = field(default_factory=_affinity)
    free: Callable[[Path], tuple[int, int]] = field(
        default=lambda folder: (shutil.disk_usage(folder).free, shutil.disk_usage(folder).total)
    )
    run: Run = field(default_factory=lambda: Programs().run)
    _known: dict[Hashable, Future[Any]] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def path(self, absolute: str) -> Path:
        """Where the file ``absolute`` of this machine lies for us."""
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str | None:
        """The contents of a small text file; None where it cannot be read."""
        return self.read(self.path(absolute))

    @staticmethod
    def read(path: Path) -> str | None:
        """The contents of a small text file at a real path; None where it cannot be read."""
        try:
            return path.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def program(self, *command: str, limit: float) -> Ran:
        """Run a program of this machine for at most ``limit`` seconds."""
        return self.run(command, self.environ, limit)

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """The result, or the error, of ``find``, which runs once however many ask.

        Args:
            key: What is asked for.
            find: Finds it.
        """
        with self._lock:
            first = key not in self._known
            future = self._known.setdefault(key, Future())
        if first:
            try:
                future.set_result(find())
            except BaseException as error:  # noqa: BLE001 - everyone who asked gets the error
                future.set_exception(error)
        return cast("T", future.result())

    def probe(self, name: str, *arguments: str, limit: float) -> dict[str, Any]:
        """The facts that a program of ``deepseek.health.probes`` finds, once per machine.

        Args:
            name: The module's name.
            arguments: Its arguments.
            limit: Seconds it may take.

        Raises:
            ProbeFailure: It failed, crashed or took too long.
        """
        return self.once(("probe", name, *arguments), lambda: self._probe(name, arguments, limit))

    def _probe(self, name: str, arguments: tuple[str, ...], limit: float) -> dict[str, Any]:
        # -P: a file such as torch.py in the current folder must not be taken for the package.
        command = (sys.executable, "-P", str(_PROBES / f"{name}.py"), *arguments)
        quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        ran = self.run(command, {**self.environ, **quiet}, limit)
        if ran.overdue:
            raise ProbeFailure(f"no answer within {limit:g} s{self._busy()}", overdue=True)
        if ran.code != 0:
            raise ProbeFailure(_reason(ran))
        for line in reversed(ran.out.splitlines()):
            if line.startswith("{"):
                facts: dict[str, Any] = json.loads(line)
                return facts | {"stderr": ran.err}
        raise ProbeFailure(f"the probe {name} ended without an answer")

    def _busy(self) -> str:
        """That others take our processors, where they do: a slow answer is then no defect."""
        load = (self.text("/proc/loadavg") or "0").split()[0]
        if float(load) <= 2 * len(self.affinity):
            return ""
        return f"; the machine is busy (load {load} on {len(self.affinity)} processors)"


def _reason(ran: Ran) -> str:
    """Why a Python program failed: the last exception it printed, or the signal that ended it."""
    if ran.code is not None and ran.code < 0:
        return f"ended by signal {-ran.code}{_SIGNALS.get(-ran.code, '')}"
    lines = ran.err.splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("Traceback")]
    rest = lines[starts[-1] + 1 :] if starts else lines[-1:]
    for n, line in enumerate(rest):
        if line and not line.startswith(" "):
            return plain(" ".join(rest[n:]))
    return f"exit code {ran.code}"


_SIGNALS = {
    4: " (illegal instruction: built for another processor)",
    7: " (bus error: a file is truncated, or /dev/shm is full)",
    9: " (killed: out of memory?)",
    11: " (segmentation fault)",
}
