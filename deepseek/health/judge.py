"""From what was seen and what was asked for to a verdict: the one place where this is decided."""

from deepseek.health.check import Check, Observation, Status, Verdict
from deepseek.health.profiles import Wanted
from deepseek.health.requirements import Kind, Requirement
from deepseek.units import format_bytes

__all__ = ["judge"]

_MISSED = {"require": Status.FAIL, "advise": Status.WARN, None: Status.SKIP}
_UNSEEN = {"require": Status.FAIL, "advise": Status.SKIP, None: Status.SKIP}
_BROKEN = {"require": Status.FAIL, "advise": Status.WARN, None: Status.WARN}


def judge(number: int, check: Check, seen: Observation, wanted: Wanted, seconds: float) -> Verdict:
    """Hold what a check saw against the requirement on it.

    Args:
        number: The check's place in the table.
        check: The check.
        seen: What it saw.
        wanted: All requirements.
        seconds: How long it took.
    """
    requirement = wanted.of(check.id)
    caution = seen.caution or wanted.known_trouble(check.id, seen.value)
    status = _status(seen, requirement, caution)
    bad = status in (Status.WARN, Status.FAIL)
    return Verdict(
        number=number,
        check=check,
        status=status,
        expected=_expected(check, seen, wanted),
        found=_found(seen, requirement, status),
        meaning=(seen.meaning or caution or check.meaning) if bad else "",
        fix=seen.fix.replace("{spec}", requirement.spec) if bad else "",
        seconds=seconds,
        value=seen.value,
    )


def _is_met(seen: Observation, requirement: Requirement) -> bool:
    if seen.value is None:
        return False
    return requirement.met_by(seen.value) if requirement.level else bool(seen.value)


def _status(seen: Observation, requirement: Requirement, caution: str) -> Status:
    if seen.broken:
        return _BROKEN[requirement.level]
    if seen.value is None:
        return _UNSEEN[requirement.level]
    if not _is_met(seen, requirement):
        return _MISSED[requirement.level]
    return Status.WARN if caution else Status.PASS


def _expected(check: Check, seen: Observation, wanted: Wanted) -> str:
    requirement = wanted.of(check.id)
    if requirement.level is None:
        return ""
    if check.kind is Kind.FEATURE:
        return check.expects
    text = f"{check.expects} {requirement.spec}"
    if check.kind is Kind.SHARE and seen.whole:
        size = max(float(bound.value) for bound in requirement.bounds) * seen.whole  # type: ignore[arg-type]
        text += f" of {format_bytes(seen.whole)}, which is {int(size):,} bytes"
    bad = ", ".join(sorted(wanted.known_bad_versions(check.id)))
    return f"{text} ({bad} is known not to work)" if bad else text


def _found(seen: Observation, requirement: Requirement, status: Status) -> str:
    unasked = requirement.level is None and seen.value is not None and not seen.value
    if status is Status.SKIP and unasked:
        return f"{seen.found}; not asked for"
    return seen.found
