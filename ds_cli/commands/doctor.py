"""``deepseek doctor``: say whether this machine is fit for the work."""

from typing import TYPE_CHECKING

from deepseek.health.config import DoctorConfig
from ds_cli.command import Command
from ds_cli.console import Talk
from ds_cli.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from deepseek.health.report import Report

__all__ = ["COMMAND"]


def run(config: DoctorConfig, talk: Talk) -> Outcome:
    """Say whether this machine is fit for the work.

    Every check comes out as pass, warn, fail or skip: expected, found, fix.
    Exit code 1 when a requirement of the profile is missed.
    """
    from ds_cli.views import doctor as views

    if config.list:
        document = views.catalogue_document()
        text = views.as_json(document) if config.format == "json" else views.catalogue()
        return Outcome(document=document, view=text)

    from deepseek.health.doctor import examine

    with talk.progress() as progress:
        report = examine(config, progress=progress)
    return Outcome(
        document=report.document(), view=_FORMATS[config.format](report), passed=report.passed
    )


def _text(report: "Report") -> "RenderableType":
    from ds_cli.views.doctor import report_view

    return report_view(report)


def _json(report: "Report") -> str:
    from ds_cli.views.doctor import as_json

    return as_json(report.document())


def _junit(report: "Report") -> str:
    from deepseek.health.junit import as_junit

    return as_junit(report)


def _github(report: "Report") -> str:
    from deepseek.health.github import as_github

    return as_github(report)


_FORMATS: "dict[str, Callable[[Report], RenderableType]]" = {
    "text": _text,
    "json": _json,
    "junit": _junit,
    "github": _github,
}

COMMAND = Command(name="doctor", config=DoctorConfig, run=run)
