"""The report as JSON, JUnit XML and GitHub annotations, each read back."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree as Tree

import pytest

from deepseek.health.check import Observation, Verdict, absent, trouble
from deepseek.health.checks import CHECKS, GROUPS, KINDS
from deepseek.health.github import as_github
from deepseek.health.judge import judge
from deepseek.health.junit import as_junit
from deepseek.health.profiles import wanted
from deepseek.health.report import Host, Report

NASTY = '50% of <b>"it"</b> & \x1b[31mmore\x00\uffff\nsecond: line, too\r::error::no\ud800'
SEEN = {
    "avx2": Observation(found="avx2 fma", value=True),
    "avx512": Observation(found="not there", value=False, fix="buy: one, 100%"),
    "sve": absent("only Arm processors have it"),
    "torch": trouble(NASTY, fix="python -m pip install 'torch{spec}'"),
    "transformers": Observation(found="5.24.0", value=(5, 24, 0)),
    "memory": Observation(found="25.3 GB", value=25_300_000_000),
    "swap_buffer": Observation(found="91%", value=0.91, whole=25_300_000_000),
}
HOST = Host(system="Linux 6", architecture="x86_64", processor="AMD EPYC", cores=2,
            memory=25_300_000_000, python="3.11.7", toolkit="0.1.0")  # fmt: skip
COMMAND = re.compile(r"::(error|warning|notice) title=([^:,]*)::([^\r\n]*)")


def verdicts() -> Sequence[Verdict]:
    asked = wanted("cpu", (), KINDS)
    return [
        judge(number, check, SEEN[check.id], asked, 0.25)
        for number, check in enumerate(CHECKS, start=1)
        if check.id in SEEN
    ]


def report(fail_on: str = "fail", profile: str = "cpu") -> Report:
    return Report(
        host=HOST,
        wanted=wanted(profile, (), KINDS),
        fail_on=fail_on,  # type: ignore[arg-type]
        verdicts=tuple(verdicts()),
        seconds=2.5,
    )


def test_counts_and_verdict() -> None:
    counts = "7 checks in 2.5 s: 4 pass, 1 warn, 1 fail, 1 skip; not fit for profile cpu: "
    assert report().summary == counts + "torch"
    assert report("warn").summary == counts + "AVX-512, torch"
    fine = replace(report(), verdicts=tuple(verdicts()[:2]))
    assert fine.passed
    assert fine.summary.endswith("fit for profile cpu")
    assert not replace(fine, fail_on="warn").passed
    one = replace(report(), verdicts=tuple(verdicts()[:1]))
    assert one.summary.startswith("1 check in")


def test_json_has_these_keys_and_survives_the_trip() -> None:
    document = json.loads(json.dumps(report().document()))
    assert document["schema"] == "deepseek.doctor/1"
    assert document.keys() == {
        "schema", "profile", "fail_on", "passed", "seconds", "counts", "host", "checks",
    }  # fmt: skip
    assert document["counts"] == {"pass": 4, "warn": 1, "fail": 1, "skip": 1}
    assert document["passed"] is False
    for entry in document["checks"]:
        assert entry.keys() == {
            "number", "id", "group", "group_title", "title", "status", "level", "requirement",
            "origin", "expected", "found", "meaning", "fix", "seconds", "value",
        }  # fmt: skip
    by_id = {entry["id"]: entry for entry in document["checks"]}
    assert by_id["transformers"]["value"] == "5.24.0"
    assert by_id["memory"]["value"] == 25_300_000_000
    assert by_id["torch"]["fix"] == "python -m pip install 'torch>=2.13,<2.15'"
    assert (by_id["avx512"]["level"], by_id["avx512"]["requirement"]) == ("advise", "yes")
    assert (by_id["sve"]["level"], by_id["sve"]["expected"]) == (None, None)


@pytest.mark.parametrize(
    ("fail_on", "failed"), [("fail", ["torch"]), ("warn", ["avx512", "torch"])]
)
def test_junit(fail_on: str, failed: list[str]) -> None:
    root = Tree.fromstring(as_junit(report(fail_on)).encode())
    cases = root.findall("testsuite/testcase")
    assert [case.get("name") for case in cases if case.find("failure") is not None] == failed
    assert [case.get("name") for case in cases if case.find("skipped") is not None] == ["sve"]
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == (
        "7", str(len(failed)), "1",
    )  # fmt: skip
    for suite in root:
        inside = suite.findall("testcase")
        assert suite.get("name") in GROUPS.values()
        assert suite.get("tests") == str(len(inside))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
    torch = next(case for case in cases if case.get("name") == "torch")
    assert torch.get("classname") == "doctor.packages"
    assert torch.get("time") == "0.250"
    failure = torch.find("failure")
    assert failure is not None
    assert '50% of <b>"it"</b> & ' in (failure.text or "")
    assert "fix: python -m pip install 'torch>=2.13,<2.15'" in (failure.text or "")


def unescape(text: str) -> str:
    for code, character in (("%0A", "\n"), ("%0D", "\r"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def commands(text: str) -> list[tuple[str, str, str]]:
    lines = [line for line in text.split("\n") if line.lstrip().startswith("::")]
    matches = [COMMAND.fullmatch(line) for line in lines]
    assert all(matches), lines
    return [(m[1], unescape(m[2]), unescape(m[3])) for m in matches if m]


def test_github() -> None:
    found = commands(as_github(report()))
    assert [(kind, title) for kind, title, _ in found] == [
        ("warning", "doctor: AVX-512"),
        ("error", "doctor: torch"),
        ("error", "deepseek doctor"),
    ]
    assert "fix: buy: one, 100%" in found[0][2]
    assert f"found: {NASTY}" in found[1][2]
    assert found[2][2] == report().summary


def test_github_turns_warnings_into_errors_when_they_fail() -> None:
    kinds = [kind for kind, _, _ in commands(as_github(report("warn")))]
    assert kinds == ["error", "error", "error"]
    fine = replace(report(), verdicts=tuple(verdicts()[:1]))
    assert [kind for kind, _, _ in commands(as_github(fine))] == ["notice"]


def test_github_shows_the_rest_as_plain_lines() -> None:
    lines = as_github(report()).split("\n")
    assert "  pass AVX2: avx2 fma" in lines
    assert "  skip SVE: only Arm processors have it" in lines
