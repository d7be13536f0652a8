"""A check looks and tells what it saw; whether that is good enough is judged elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from deepseek.health.machine import Machine
from deepseek.health.requirements import Kind, Value

__all__ = ["Check", "Observation", "Status", "Verdict", "absent", "trouble"]


class Status(Enum):
    """How a check came out."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What a check saw.

    Attributes:
        found: In words.
        value: What a requirement compares; None where there is nothing to compare.
        whole: For a share: the bytes it is a share of.
        fix: What to do when it is not good enough; ``{spec}`` stands for the bounds asked for.
        meaning: What it means when it is not good enough, where the check's own words do not fit.
        caution: Why a good value still deserves a warning.
        broken: Nothing could be seen, and it should have been possible.
    """

    found: str
    value: Value | None = None
    whole: int = 0
    fix: str = ""
    meaning: str = ""
    caution: str = ""
    broken: bool = False


def absent(found: str, *, fix: str = "") -> Observation:
    """There is nothing to check here, and that is no defect of the machine."""
    return Observation(found=found, fix=fix)


def trouble(found: str, *, fix: str = "", meaning: str = "") -> Observation:
    """The check could not see what it should have been able to see."""
    return Observation(found=found, fix=fix, meaning=meaning, broken=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check.

    Attributes:
        id: Its name in requirements, ``--only`` and reports.
        group: The part of the report it belongs to.
        title: Its name for people.
        kind: What it finds.
        expects: For a feature, what must be there; otherwise what the bounds are about.
        meaning: What missing the requirement means for the work.
        look: Looks at the machine.
        limit: Seconds after which it is given up.
        after: Checks that run before it, because they find what it builds on.
        pointless: Each gives the reason why looking is of no use here, or None; obeyed unless
            the check is required.
    """

    id: str
    group: str
    title: str
    kind: Kind
    expects: str
    meaning: str
    look: Callable[[Machine], Observation]
    limit: float = 2.0
    after: tuple[str, ...] = ()
    pointless: tuple[Callable[[Machine], str | None], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How one check came out.

    Attributes:
        number: Its place in the table of all checks, from 1.
        check: The check.
        status: Pass, warn, fail or skip.
        expected: What was asked for, in words; empty when nothing was.
        found: What was seen, in words.
        meaning: What a warning or failure means for the work; empty otherwise.
        fix: What to do about a warning or failure, a command where there is one.
        seconds: How long looking took.
        value: What was compared.
    """

    number: int
    check: Check
    status: Status
    expected: str
    found: str
    meaning: str
    fix: str
    seconds: float
    value: Value | None

    @property
    def explanation(self) -> dict[str, str]:
        """What there is to say about it, each under the word that reports put before it."""
        texts = {
            "expected": self.expected,
            "found": self.found,
            "means": self.meaning,
            "fix": self.fix,
        }
        return {word: text for word, text in texts.items() if text}
