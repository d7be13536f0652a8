import time
from collections.abc import Callable
from threading import Event

import pytest

from deepseek.health.check import Check, Observation
from deepseek.health.machine import Machine, ProbeFailure
from deepseek.health.requirements import Kind
from deepseek.health.runner import TOTAL_LIMIT, Look, run_checks

Looker = Callable[[Machine], Observation]
MACHINE = Machine(environ={})
FINE = Observation(found="fine", value=True)


def check(name: str, look: Looker = lambda machine: FINE, **changes: object) -> Check:
    settings = {
        "id": name, "group": "processor", "title": name, "kind": Kind.FEATURE, "expects": name,
        "meaning": "m", "look": look, "limit": 5.0,
    }  # fmt: skip
    return Check(**{**settings, **changes})  # type: ignore[arg-type]


def run(*checks: Check, **settings: object) -> dict[str, Look]:
    return run_checks(checks, MACHINE, **{"is_required": lambda name: False, **settings})  # type: ignore[arg-type]


def test_every_check_runs_and_is_timed() -> None:
    def slow(machine: Machine) -> Observation:
        time.sleep(0.2)
        return FINE

    looks = run(check("a"), check("b", slow))
    assert {name: look.seen for name, look in looks.items()} == {"a": FINE, "b": FINE}
    assert looks["a"].seconds < 0.2 <= looks["b"].seconds


def test_a_check_that_hangs_is_reported_and_the_others_go_on() -> None:
    never = Event()

    def hang(machine: Machine) -> Observation:
        never.wait(30)
        return FINE

    begin = time.monotonic()
    looks = run(check("a", hang, limit=0.3), check("b"), check("c"), width=1)
    assert time.monotonic() - begin < 5
    assert looks["a"].seen.broken
    assert looks["a"].seen.found == "no answer within 0.3 s"
    assert looks["a"].seconds == pytest.approx(0.3, abs=0.5)
    assert looks["b"].seen == looks["c"].seen == FINE
    never.set()


def test_an_answer_that_comes_too_late_is_not_taken() -> None:
    def late(machine: Machine) -> Observation:
        time.sleep(0.3)
        return FINE

    def later(machine: Machine) -> Observation:
        time.sleep(0.6)
        return FINE

    looks = run(check("late", late, limit=0.1), check("later", later), width=2)
    assert looks["late"].seen.broken
    assert looks["later"].seen == FINE


def test_everything_ends_when_the_whole_time_is_up() -> None:
    never = Event()

    def hang(machine: Machine) -> Observation:
        never.wait(30)
        return FINE

    names = [f"hang{n}" for n in range(4)]
    begin = time.monotonic()
    looks = run(*(check(name, hang) for name in names), check("after", after=("hang0",)),
                width=2, total_limit=0.5)  # fmt: skip
    assert time.monotonic() - begin < 3
    assert looks.keys() == {*names, "after"}
    assert all(look.seen.found.startswith("no time was left") for look in looks.values())
    never.set()


def test_the_promise_of_twenty_seconds_leaves_room() -> None:
    assert TOTAL_LIMIT < 20


def test_a_defect_in_a_check_sinks_only_that_check() -> None:
    def broken(machine: Machine) -> Observation:
        raise KeyError("oh\nno")

    looks = run(check("a", broken), check("b"))
    assert looks["a"].seen.broken
    assert looks["a"].seen.found == "the check itself failed: KeyError: 'oh\\nno'"
    assert looks["b"].seen == FINE


def test_a_failed_probe_is_its_reason() -> None:
    def failing(machine: Machine) -> Observation:
        raise ProbeFailure("ImportError: no luck")

    seen = run(check("a", failing))["a"].seen
    assert (seen.broken, seen.found) == (True, "ImportError: no luck")


def test_a_check_waits_for_those_it_builds_on() -> None:
    order = []

    def note(name: str, seconds: float) -> Looker:
        def look(machine: Machine) -> Observation:
            time.sleep(seconds)
            order.append(name)
            return FINE

        return look

    run(check("second", note("second", 0), after=("first",)), check("first", note("first", 0.2)))
    assert order == ["first", "second"]


def test_what_builds_on_a_hanging_check_still_runs() -> None:
    never = Event()

    def hang(machine: Machine) -> Observation:
        never.wait(30)
        return FINE

    looks = run(check("first", hang, limit=0.2), check("second", after=("first",)))
    assert looks["second"].seen == FINE
    never.set()


def test_no_more_run_at_once_than_asked() -> None:
    running: list[int] = []
    most: list[int] = []

    def look(machine: Machine) -> Observation:
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        return FINE

    run(*(check(str(n), look) for n in range(8)), width=3)
    assert max(most) == 3


def test_quick_checks_go_first_then_the_longest() -> None:
    order = []

    def note(name: str) -> Looker:
        return lambda machine: order.append(name) or FINE  # type: ignore[func-returns-value]

    run(check("import", note("import"), limit=11), check("torch", note("torch"), limit=13),
        check("file", note("file"), limit=2), width=1)  # fmt: skip
    assert order == ["file", "torch", "import"]


def test_looking_where_it_is_pointless() -> None:
    calls = []

    def look(machine: Machine) -> Observation:
        calls.append(1)
        return FINE

    reasons = (lambda machine: None, lambda machine: "no GPU here")
    pointless = check("gpu", look, pointless=reasons)
    seen = run(pointless)["gpu"].seen
    assert (seen.value, seen.broken, seen.found) == (None, False, "no GPU here")
    assert calls == []
    assert run(pointless, is_required=lambda name: name == "gpu")["gpu"].seen == FINE


def test_progress_is_told_after_each() -> None:
    told: list[tuple[str, int, int | None]] = []
    run(check("a"), check("b"), progress=lambda *step: told.append(step))
    assert told == [("checks", 1, 2), ("checks", 2, 2)]


def test_nothing_to_do() -> None:
    assert run() == {}
