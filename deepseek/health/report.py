"""What the doctor found, as a value and as a JSON document."""

from dataclasses import dataclass
from typing import Any, Literal

from deepseek.health.check import Status, Verdict
from deepseek.health.checks import GROUPS
from deepseek.health.profiles import Wanted
from deepseek.health.requirements import Requirement, Value, show_version

__all__ = ["Host", "Report"]

SCHEMA = "deepseek.doctor/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """The machine in a few words.

    Attributes:
        system: Operating system and its release.
        architecture: As ``uname -m`` says it.
        processor: Its name; empty where the kernel does not say.
        cores: Threads that can run at once.
        memory: Bytes that may be used; None where the kernel does not say.
        python: The interpreter's version.
        toolkit: Our own version.
    """

    system: str
    architecture: str
    processor: str
    cores: int
    memory: int | None
    python: str
    toolkit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All verdicts, and the one that follows from them.

    Attributes:
        host: The machine.
        wanted: What it was held to.
        fail_on: The mildest status that fails the report.
        verdicts: In the order of the table of checks.
        seconds: How long everything took.
    """

    host: Host
    wanted: Wanted
    fail_on: Literal["fail", "warn"]
    verdicts: tuple[Verdict, ...]
    seconds: float

    def count(self, status: Status) -> int:
        """How many checks came out this way."""
        return sum(verdict.status is status for verdict in self.verdicts)

    def fails(self, verdict: Verdict) -> bool:
        """Whether this verdict is bad enough to fail the report."""
        severe = {"fail": (Status.FAIL,), "warn": (Status.FAIL, Status.WARN)}
        return verdict.status in severe[self.fail_on]

    @property
    def passed(self) -> bool:
        """Whether the machine is fit."""
        return not any(map(self.fails, self.verdicts))

    @property
    def summary(self) -> str:
        """Counts, time and the verdict in one line."""
        counts = ", ".join(f"{self.count(status)} {status.value}" for status in Status)
        profile = self.wanted.profile
        failing = [verdict.check.title for verdict in self.verdicts if self.fails(verdict)]
        fit = f"not fit for profile {profile}: {', '.join(failing)}"
        fit = fit if failing else f"fit for profile {profile}"
        checks = f"{len(self.verdicts)} check{'' if len(self.verdicts) == 1 else 's'}"
        return f"{checks} in {self.seconds:.1f} s: {counts}; {fit}"

    def document(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        host = self.host
        return {
            "schema": SCHEMA,
            "profile": self.wanted.profile,
            "fail_on": self.fail_on,
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "counts": {status.value: self.count(status) for status in Status},
            "host": {name: getattr(host, name) for name in Host.__dataclass_fields__},
            "checks": [
                _entry(verdict, self.wanted.of(verdict.check.id)) for verdict in self.verdicts
            ],
        }


def _entry(verdict: Verdict, requirement: Requirement) -> dict[str, Any]:
    check = verdict.check
    return {
        "number": verdict.number,
        "id": check.id,
        "group": check.group,
        "group_title": GROUPS[check.group],
        "title": check.title,
        "status": verdict.status.value,
        "level": requirement.level,
        "requirement": (requirement.spec or "yes") if requirement.level else None,
        "origin": requirement.origin or None,
        "expected": verdict.expected or None,
        "found": verdict.found,
        "meaning": verdict.meaning or None,
        "fix": verdict.fix or None,
        "seconds": round(verdict.seconds, 4),
        "value": _plain(verdict.value),
    }


def _plain(value: Value | None) -> str | float | bool | None:
    return show_version(value) if isinstance(value, tuple) else value
