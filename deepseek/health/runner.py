"""Running checks side by side, each within its time limit and all of them within one.

A check runs in a thread of its own. One that is overdue is reported and left behind; the programs
it started are ended. Checks that answer at once go first, so that a slow one holds up none of
them; of the rest the longest goes first, so that it does not end last.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

from deepseek.health.check import Check, Observation, absent, trouble
from deepseek.health.machine import Machine, ProbeFailure, plain
from deepseek.progress import Progress, silent

__all__ = ["TOTAL_LIMIT", "Look", "run_checks"]

TOTAL_LIMIT = 18.0  # seconds for all checks; the report is promised within 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a check saw, and the seconds it took."""

    seen: Observation
    seconds: float


_AT_ONCE = 6.0  # seconds: a longer limit means that something large is imported

_Done = SimpleQueue[tuple[Check, Observation]]


def run_checks(
    checks: Sequence[Check],
    machine: Machine,
    *,
    is_required: Callable[[str], bool],
    width: int = 2,
    total_limit: float = TOTAL_LIMIT,
    progress: Progress = silent,
) -> dict[str, Look]:
    """Run every check and wait for it, but not longer than its limit.

    Args:
        checks: What to run.
        machine: What to look at.
        is_required: Whether a check runs even where looking is pointless.
        width: How many run at once.
        total_limit: Seconds after which whatever has not answered is given up.
        progress: Told after each check.

    Returns:
        What each saw, by its id.
    """
    waiting = sorted(checks, key=lambda check: (check.limit > _AT_ONCE, -check.limit))
    running: dict[str, tuple[Check, float]] = {}
    looks: dict[str, Look] = {}
    done: _Done = SimpleQueue()
    end = time.monotonic() + total_limit

    while waiting or running:
        for check in _ready(waiting, running)[: width - len(running)]:
            waiting.remove(check)
            running[check.id] = (check, time.monotonic())
            _start(check, machine, done, obey=not is_required(check.id))
        finished = _next(done, _patience(running, end))
        for check, seen in finished or _overdue(running, waiting, end):
            started = running.pop(check.id, (check, time.monotonic()))[1]
            if check.id not in looks:
                looks[check.id] = Look(seen=seen, seconds=time.monotonic() - started)
                progress("checks", len(looks), len(checks))
    return looks


def _ready(waiting: list[Check], running: dict[str, tuple[Check, float]]) -> list[Check]:
    unfinished = {check.id for check in waiting} | running.keys()
    return [check for check in waiting if unfinished.isdisjoint(check.after)]


def _start(check: Check, machine: Machine, done: _Done, *, obey: bool) -> None:
    def work() -> None:
        done.put((check, _look(check, machine, obey=obey)))

    # A daemon: a check that never returns must not keep the process alive.
    Thread(target=work, name=f"check {check.id}", daemon=True).start()


def _look(check: Check, machine: Machine, *, obey: bool) -> Observation:
    try:
        reasons = (is_pointless(machine) for is_pointless in check.pointless)
        reason = next(filter(None, reasons), None) if obey else None
        return check.look(machine) if reason is None else absent(reason)
    except ProbeFailure as error:
        return trouble(str(error))
    except Exception as error:  # noqa: BLE001 - one check's defect must not sink the report
        return trouble(f"the check itself failed: {type(error).__name__}: {plain(str(error))}")


def _next(done: _Done, patience: float) -> list[tuple[Check, Observation]]:
    try:
        return [done.get(timeout=max(0.0, patience))]
    except Empty:
        return []


def _patience(running: dict[str, tuple[Check, float]], end: float) -> float:
    ends = [started + check.limit for check, started in running.values()]
    return min([*ends, end]) - time.monotonic()


def _overdue(
    running: dict[str, tuple[Check, float]], waiting: list[Check], end: float
) -> list[tuple[Check, Observation]]:
    """Those whose time is up; everything, once the time of the whole run is."""
    now = time.monotonic()
    if now >= end:
        late = [*(check for check, _ in running.values()), *waiting]
        waiting.clear()
        return [(check, trouble("no time was left: other checks took too long")) for check in late]
    return [
        (check, trouble(f"no answer within {check.limit:g} s"))
        for check, started in running.values()
        if now >= started + check.limit
    ]
