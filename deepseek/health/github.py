"""The report as workflow commands, which GitHub Actions shows as annotations."""

from deepseek.health.check import Status, Verdict
from deepseek.health.report import Report

__all__ = ["as_github"]

_MESSAGE = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = _MESSAGE | str.maketrans({":": "%3A", ",": "%2C"})


def as_github(report: Report) -> str:
    """An annotation for each warning and failure, a plain line for every other check."""
    lines = [_line(report, verdict) for verdict in report.verdicts]
    kind = "notice" if report.passed else "error"
    return "\n".join([*lines, _command(kind, "deepseek doctor", report.summary)])


def _line(report: Report, verdict: Verdict) -> str:
    title = f"doctor: {verdict.check.title}"
    if report.fails(verdict):
        return _command("error", title, _message(verdict))
    if verdict.status is Status.WARN:
        return _command("warning", title, _message(verdict))
    # Indented, so that no text of a check can pass for a command.
    return f"  {verdict.status.value} {verdict.check.title}: {verdict.found}"


def _message(verdict: Verdict) -> str:
    return "\n".join(f"{word}: {text}" for word, text in verdict.explanation.items())


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={title.translate(_PROPERTY)}::{message.translate(_MESSAGE)}"
