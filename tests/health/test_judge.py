from collections.abc import Callable

import pytest

from deepseek.health.check import Check, Observation, Status, absent, trouble
from deepseek.health.checks import CHECKS, KINDS
from deepseek.health.judge import judge
from deepseek.health.profiles import wanted
from deepseek.health.requirements import Kind
from deepseek.health.runner import TOTAL_LIMIT

BY_ID = {check.id: check for check in CHECKS}
GOOD = Observation(found="there", value=True)
BAD = Observation(found="not there", value=False, fix="buy one")
Verdict = Callable[..., object]


def status(seen: Observation, level: str) -> Status:
    # avx512 is required by cuda11, advised by cpu and waived by ci
    profile = {"require": "cuda11", "advise": "cpu", "nothing": "ci"}[level]
    return judge(2, BY_ID["avx512"], seen, wanted(profile, (), KINDS), 0.1).status


@pytest.mark.parametrize(
    ("seen", "required", "advised", "unasked"),
    [
        (GOOD, Status.PASS, Status.PASS, Status.PASS),
        (BAD, Status.FAIL, Status.WARN, Status.SKIP),
        (absent("only x86 has it"), Status.FAIL, Status.SKIP, Status.SKIP),
        (trouble("it hangs"), Status.FAIL, Status.WARN, Status.WARN),
        (Observation(found="x", value=True, caution="but"), Status.WARN, Status.WARN, Status.WARN),
    ],
)
def test_the_status_follows_from_what_was_seen_and_asked(
    seen: Observation, required: Status, advised: Status, unasked: Status
) -> None:
    levels = ("require", "advise", "nothing")
    assert [status(seen, level) for level in levels] == [required, advised, unasked]


def test_a_miss_says_expected_found_meaning_and_fix() -> None:
    verdict = judge(2, BY_ID["avx512"], BAD, wanted("cpu", (), KINDS), 0.25)
    assert verdict.expected.startswith("AVX-512 (avx512bw ")
    assert verdict.found == "not there"
    assert "256-bit vectors" in verdict.meaning
    assert verdict.fix == "buy one"
    assert (verdict.number, verdict.seconds, verdict.value) == (2, 0.25, False)


def test_a_pass_needs_no_advice() -> None:
    verdict = judge(2, BY_ID["avx512"], GOOD, wanted("cpu", (), KINDS), 0.0)
    assert (verdict.meaning, verdict.fix) == ("", "")


def test_what_nobody_asked_for_is_said_to_be_so() -> None:
    verdict = judge(2, BY_ID["avx512"], BAD, wanted("ci", (), KINDS), 0.0)
    assert verdict.found == "not there; not asked for"
    assert verdict.expected == ""


def test_bounds_appear_in_the_expectation_and_in_the_fix() -> None:
    old = Observation(found="2.7", value=(2, 7), fix="pip install 'torch{spec}'")
    verdict = judge(18, BY_ID["torch"], old, wanted("cpu", ("torch>=2.8",), KINDS), 0.0)
    assert verdict.status is Status.FAIL
    assert verdict.expected == "torch >=2.8"
    assert verdict.fix == "pip install 'torch>=2.8'"


def test_a_share_is_expected_in_bytes() -> None:
    seen = Observation(found="", value=0.1, whole=10_000_000_000)
    verdict = judge(15, BY_ID["swap_buffer"], seen, wanted("cpu", (), KINDS), 0.0)
    assert verdict.status is Status.WARN
    assert verdict.expected.endswith(">=20% of 10.0 GB, which is 2,000,000,000 bytes")


@pytest.mark.parametrize(
    ("profile", "version", "expected"),
    [
        ("cuda11", (11, 8), Status.PASS),
        ("cuda11", (12, 0), Status.FAIL),
        ("cpu", (12, 0), Status.WARN),
        ("cpu", (12, 6), Status.PASS),
        ("cuda12", (12, 6), Status.PASS),
    ],
)
def test_cuda_12_0_is_named_as_bad(
    profile: str, version: tuple[int, ...], expected: Status
) -> None:
    seen = Observation(found="CUDA", value=version)
    verdict = judge(28, BY_ID["cuda"], seen, wanted(profile, (), KINDS), 0.0)
    assert verdict.status is expected
    if profile != "cpu":
        assert "(12.0 is known not to work)" in verdict.expected
    if version == (12, 0):
        assert "incompatible" in verdict.meaning


def test_an_override_that_asks_for_the_bad_version_still_warns() -> None:
    seen = Observation(found="CUDA", value=(12, 0))
    verdict = judge(28, BY_ID["cuda"], seen, wanted("cuda11", ("cuda=12.0",), KINDS), 0.0)
    assert verdict.status is Status.WARN


def test_every_check_has_words_and_a_limit() -> None:
    assert len(BY_ID) == len(CHECKS)
    for check in CHECKS:
        assert isinstance(check, Check)
        assert isinstance(check.kind, Kind)
        assert check.title
        assert check.expects
        assert check.meaning
        assert 0 < check.limit < TOTAL_LIMIT
        assert set(check.after) <= BY_ID.keys()
