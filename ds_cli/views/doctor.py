"""The doctor's report and its catalogue of checks, as a person reads them."""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deepseek.health.check import Status, Verdict
from deepseek.health.checks import CHECKS, GROUPS
from deepseek.health.profiles import profile_summaries
from deepseek.health.report import Host, Report
from deepseek.units import format_bytes, format_seconds

__all__ = ["as_json", "catalogue", "catalogue_document", "report_view"]

_STYLES = {
    Status.PASS: "green",
    Status.WARN: "yellow",
    Status.FAIL: "bold red",
    Status.SKIP: "dim",
}
_WIDEST = 120  # longer lines are hard to read, however wide the terminal is
_NUMBER, _STATUS, _TITLE, _TIME = 5, 4, 18, 8
_INDENT = _NUMBER + _STATUS + 4


def as_json(document: dict[str, Any]) -> str:
    """A document as it is printed by ``--json``."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def report_view(report: Report) -> RenderableType:
    """Numbered checks by group; warnings and failures with what to do; the verdict at the end."""
    parts: list[RenderableType] = [_heading(report)]
    for group, verdicts in groupby(report.verdicts, key=lambda verdict: verdict.check.group):
        parts += [Text(f"\n{GROUPS[group]}", style="bold"), *_rows(list(verdicts))]
    parts += [Text(), _verdict(report)]
    return Constrain(Group(*parts), _WIDEST)


def _heading(report: Report) -> Text:
    wanted = report.wanted
    return Text.assemble(
        ("deepseek doctor", "bold"),
        f"  profile {wanted.profile}: {wanted.summary}\n",
        (_host(report.host), "dim"),
    )


def _host(host: Host) -> str:
    memory = "" if host.memory is None else format_bytes(host.memory)
    cores = f"{host.cores} core{'' if host.cores == 1 else 's'}"
    parts = (host.processor, host.architecture, cores, memory, host.system,
             f"Python {host.python}", f"toolkit {host.toolkit}")  # fmt: skip
    return ", ".join(filter(None, parts))


def _rows(verdicts: list[Verdict]) -> Iterator[RenderableType]:
    for same in _merged(verdicts):
        yield _row(same)
        if same[0].status in (Status.WARN, Status.FAIL):
            yield Padding(_details(same[0]), (0, _TIME + 2, 0, _INDENT))


def _merged(verdicts: list[Verdict]) -> Iterator[list[Verdict]]:
    """Neighbours that were skipped for the same reason share a row."""

    def reason(verdict: Verdict) -> tuple[str, int]:
        skipped = verdict.status is Status.SKIP
        return (verdict.found, 0) if skipped else ("", verdict.number)

    for _, same in groupby(verdicts, key=reason):
        yield list(same)


def _row(same: list[Verdict]) -> Table:
    first, last = same[0], same[-1]
    number = str(first.number) if first is last else f"{first.number}-{last.number}"
    bad = first.status in (Status.WARN, Status.FAIL)
    style = "dim" if first.status is Status.SKIP else ""
    if len(same) == 1:
        title, found = first.check.title, "" if bad else first.found
    else:
        title, found = f"{len(same)} checks", f"{first.found}: {_listed(same)}"
    row = Table.grid(padding=(0, 2, 0, 0), expand=True)
    row.add_column(width=_NUMBER, justify="right", style="dim")
    row.add_column(width=_STATUS)
    row.add_column(width=_TITLE)
    row.add_column(ratio=1, overflow="fold")
    row.add_column(width=_TIME, justify="right", style="dim")
    row.add_row(
        number,
        Text(first.status.value.upper() if first.status is Status.FAIL else first.status.value,
             style=_STYLES[first.status]),
        Text(title, style=style or "default"),
        Text(found, style=style),
        format_seconds(sum(verdict.seconds for verdict in same)),
    )  # fmt: skip
    return row


def _listed(verdicts: Iterable[Verdict]) -> str:
    return ", ".join(verdict.check.title for verdict in verdicts)


def _details(verdict: Verdict) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for word, text in verdict.explanation.items():
        table.add_row(word, Text(text, style="bold" if word == "fix" else ""))
    return table


def _verdict(report: Report) -> Text:
    return Text(report.summary, style="bold green" if report.passed else "bold red")


def catalogue_document() -> dict[str, Any]:
    """Every check, group and profile as plain JSON values."""
    return {
        "schema": "deepseek.doctor-checks/1",
        "profiles": profile_summaries(),
        "groups": GROUPS,
        "checks": [
            {
                "number": number,
                "id": check.id,
                "group": check.group,
                "title": check.title,
                "kind": check.kind.name.lower(),
                "expects": check.expects,
                "limit_seconds": check.limit,
            }
            for number, check in enumerate(CHECKS, start=1)
        ],
    }


def catalogue() -> RenderableType:
    """Every check with the name it has in ``--only`` and ``--require``, and every profile."""
    parts: list[RenderableType] = []
    numbered = enumerate(CHECKS, start=1)
    for group, checks in groupby(numbered, key=lambda item: item[1].group):
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=_NUMBER, justify="right", style="dim")
        table.add_column(width=_TITLE, style="bold")
        table.add_column(overflow="fold")
        for number, check in checks:
            table.add_row(str(number), check.id, check.expects)
        parts += [Text.assemble((GROUPS[group], "bold"), (f"  --only {group}", "dim")), table]
    profiles = Table.grid(padding=(0, 2, 0, 0))
    profiles.add_column(width=_NUMBER + 2 + _TITLE, style="bold")
    profiles.add_column(overflow="fold")
    for name, summary in profile_summaries().items():
        profiles.add_row(f"  --profile {name}", summary)
    parts += [Text("Profiles", style="bold"), profiles]
    return Constrain(Group(*parts), _WIDEST)
