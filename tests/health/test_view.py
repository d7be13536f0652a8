"""The report and the catalogue as a person reads them."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from deepseek.health import DoctorConfig, Machine, Report, examine
from deepseek.health.checks import CHECKS, GROUPS
from deepseek.health.profiles import profile_summaries
from ds_cli.views.doctor import catalogue, catalogue_document, report_view

Fake = Callable[..., Machine]
ROW = re.compile(r" *(\d+)(?:-(\d+))?  (?:pass|warn|FAIL|skip)  ")
ZEN_3 = "model name : AMD EPYC\nflags : fma avx2\n"


@pytest.fixture
def report(fake: Fake, torch_answer: Callable[..., dict[str, Any]]) -> Report:
    machine = fake({"/proc/cpuinfo": ZEN_3}, torch_answer(), environ={"HOME": "/home/me"})
    return examine(DoctorConfig(), machine)


def shown(view: object, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(view)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize(("width", "widest"), [(80, 80), (100, 100), (200, 120)])
def test_it_fits_the_terminal_and_is_never_too_wide_to_read(
    report: Report, width: int, widest: int
) -> None:
    lines = shown(report_view(report), width)
    assert max(map(len, lines)) <= widest
    assert set(GROUPS.values()) <= set(lines)
    rows = [match for line in lines if (match := ROW.match(line))]
    numbers = [n for row in rows for n in range(int(row[1]), int(row[2] or row[1]) + 1)]
    assert numbers == list(range(1, len(CHECKS) + 1))


def test_a_failure_says_expected_found_meaning_and_fix(report: Report) -> None:
    lines = shown(report_view(report), 120)
    start = next(n for n, line in enumerate(lines) if "FAIL  transformers" in line)
    assert lines[start].split()[:3] == ["19", "FAIL", "transformers"]
    assert [line.split(maxsplit=1) for line in lines[start + 1 : start + 5]] == [
        ["expected", "transformers >=5.0,<6"],
        ["found", "ModuleNotFoundError: No module 'package transformers'"],
        ["means", "what needs it does not run"],
        ["fix", "python -m pip install 'transformers>=5.0,<6'"],
    ]


def test_what_is_skipped_for_one_reason_shares_a_row(report: Report) -> None:
    lines = shown(report_view(report), 200)
    (arm,) = [line for line in lines if "only Arm processors have it" in line]
    assert arm.split()[:4] == ["6-9", "skip", "4", "checks"]
    assert "this is x86_64: NEON, dot product, I8MM, SVE" in arm


def test_the_last_line_is_the_verdict(report: Report) -> None:
    for width in (80, 200):
        assert " ".join(shown(report_view(report), width)).endswith(report.summary)


def test_a_report_of_nothing_but_passes(report: Report) -> None:
    fine = replace(report, verdicts=report.verdicts[:1])
    lines = shown(report_view(fine), 80)
    assert "expected" not in " ".join(lines)
    assert lines[-1].endswith("fit for profile cpu")


def test_text_of_a_check_is_not_taken_for_markup(report: Report) -> None:
    odd = replace(report.verdicts[0], found="[bold]x[/] [/nonsense]")
    lines = shown(report_view(replace(report, verdicts=(odd,))), 80)
    assert any("[bold]x[/] [/nonsense]" in line for line in lines)


@pytest.mark.parametrize("width", [80, 200])
def test_the_catalogue_names_everything(width: int) -> None:
    lines = shown(catalogue(), width)
    assert max(map(len, lines)) <= min(width, 120)
    words = " ".join(lines).split()
    assert {check.id for check in CHECKS} <= set(words)
    assert GROUPS.keys() <= set(words)
    assert profile_summaries().keys() <= set(words)


def test_the_catalogue_as_a_document() -> None:
    document = catalogue_document()
    assert document["schema"] == "deepseek.doctor-checks/1"
    assert [entry["id"] for entry in document["checks"]] == [check.id for check in CHECKS]
    assert document["profiles"] == profile_summaries()
