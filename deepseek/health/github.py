"""The report as workflow commands, which GitHub Actions shows as annotations."""

from deepseek.health.check import Status, Verdict
from deepseek.health.report import Report

__all__ = ["as_github"]

_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = _MESSAGE | {":": "%3A", ",": "%2C"}


def as_github(report: Report) -> str:
    """An annotation for each warning and failure, a plain line for every other check."""
    lines = [_line(report, verdict) for verdict in report.verdicts]
    return "\n".join([*lines, _command("notice", "deepseek doctor", report.summary)])


def _line(report: Report, verdict: Verdict) -> str:
    title = f"doctor: {verdict.check.title}"
    if report.fails(verdict):
        return _command("error", title, _message(verdict))
    if verdict.status is Status.WARN:
        return _command("warning", title, _message(verdict))
    # Indented, so that no text of a check can pass for a command.
    return f"  {verdict.status.value} {verdict.check.title}: {verdict.found}"


def _message(verdict: Verdict) -> str:
    parts = {
        "expected": verdict.expected,
        "found": verdict.found,
        "means": verdict.meaning,
        "fix": verdict.fix,
    }
    return "\n".join(f"{name}: {text}" for name, text in parts.items() if text)


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_escape(title, _PROPERTY)}::{_escape(message, _MESSAGE)}"


def _escape(text: str, codes: dict[str, str]) -> str:
    return "".join(codes.get(character, character) for character in text)
