"""The report as JUnit XML, which continuous integration systems show as test results."""

import re
from xml.etree import ElementTree as Tree

from deepseek.health.check import Status, Verdict
from deepseek.health.checks import GROUPS
from deepseek.health.report import Report

__all__ = ["as_junit"]

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(report: Report) -> str:
    """One suite for each group, one case for each check; a warning that passes is output."""
    root = Tree.Element(
        "testsuites",
        _counts(report, report.verdicts),
        name=f"deepseek doctor, profile {report.wanted.profile}",
        time=f"{report.seconds:.3f}",
    )
    for group, title in GROUPS.items():
        verdicts = tuple(v for v in report.verdicts if v.check.group == group)
        if verdicts:
            seconds = sum(verdict.seconds for verdict in verdicts)
            counts = _counts(report, verdicts)
            suite = Tree.SubElement(root, "testsuite", counts, name=title, time=f"{seconds:.3f}")
            for verdict in verdicts:
                _case(suite, verdict, failed=report.fails(verdict))
    Tree.indent(root)
    declaration = '<?xml version="1.0" encoding="utf-8"?>\n'
    return declaration + Tree.tostring(root, encoding="unicode")


def _counts(report: Report, verdicts: tuple[Verdict, ...]) -> dict[str, str]:
    return {
        "tests": str(len(verdicts)),
        "failures": str(sum(map(report.fails, verdicts))),
        "errors": "0",
        "skipped": str(sum(verdict.status is Status.SKIP for verdict in verdicts)),
    }


def _case(suite: Tree.Element, verdict: Verdict, *, failed: bool) -> None:
    case = Tree.SubElement(
        suite,
        "testcase",
        classname=f"doctor.{verdict.check.group}",
        name=verdict.check.id,
        time=f"{verdict.seconds:.3f}",
    )
    found = _clean(verdict.found)
    if failed:
        failure = Tree.SubElement(case, "failure", type=verdict.status.value, message=found)
        failure.text = _details(verdict)
    elif verdict.status is Status.SKIP:
        Tree.SubElement(case, "skipped", message=found)
    else:
        Tree.SubElement(case, "system-out").text = _details(verdict)


def _details(verdict: Verdict) -> str:
    words = {"status": verdict.status.value, **verdict.explanation}
    return _clean("\n".join(f"{word}: {text}" for word, text in words.items()))


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("", text)
