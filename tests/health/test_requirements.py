import pytest

from deepseek.errors import InputError
from deepseek.health.checks import KINDS
from deepseek.health.requirements import parse_requirement, parse_version, show_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.13.0+cpu", (2, 13, 0)),
        ("535.104.05", (535, 104, 5)),
        ("2.32.3+cuda12.9", (2, 32, 3)),
        ("2.14.0a0+git12ab", (2, 14, 0)),
        ("v13", (13,)),
    ],
)
def test_a_version_is_its_leading_numbers(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version
    assert parse_version(show_version(version)) == version


@pytest.mark.parametrize("text", ["", "unknown", "+cpu", "[N/A]"])
def test_text_without_a_number_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a version such as 2\.13\.0"):
        parse_version(text)


@pytest.mark.parametrize(
    ("requirement", "found", "met"),
    [
        ("cuda>=12", (12, 0), True),
        ("cuda>=12", (11, 8), False),
        ("cuda>=11,<12", (11, 8), True),
        ("cuda>=11,<12", (12,), False),
        ("cuda=11.x", (11, 8), True),
        ("cuda==11.*", (12, 1), False),
        ("cuda=11", (11, 8, 89), True),
        ("cuda!=12.0", (12, 0, 1), False),
        ("cuda!=12.0", (12, 1), True),
        ("cuda<=12", (12, 0, 0), True),
        ("cuda>12", (12,), False),
        ("nccl>=2.8", (2, 18, 3), True),
        ("nccl >= 2.8", (2, 7, 8), False),
        ("driver>=525.60.13", (525, 60), False),
        ("cores>=4", 4, True),
        ("cores>=4", 3, False),
        ("gpu", 1, True),
        ("gpu", 0, False),
        ("memory>=32GB", 32 * 10**9, True),
        ("memory>=32GiB", 32 * 10**9, False),
        ("swap_buffer>=20%", 0.2, True),
        ("swap-buffer>=20%", 0.19, False),
        ("avx512", True, True),
        ("AVX512=yes", False, False),
    ],
)
def test_bounds_compare_what_they_are_about(requirement: str, found: object, met: bool) -> None:
    parsed = parse_requirement(requirement, KINDS, "--require")
    assert parsed.level == "require"
    assert parsed.met_by(found) is met  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["avx512=any", "cuda=any", "memory==any"])
def test_any_waives_a_requirement(text: str) -> None:
    assert parse_requirement(text, KINDS, "--require").level is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("cdua>=12", "expected the name of a check, got 'cdua'", "did you mean cuda?"),
        ("avx513", "expected the name of a check, got 'avx513'", "did you mean avx512?"),
        (">=3", "expected the name of a check, got '>=3'", "--list shows the checks"),
        ("zzzzzz", "expected the name of a check", "--list shows the checks"),
        ("cuda", "expected a bound such as cuda>=12, got 'cuda' alone", "the shell takes >"),
        ("memory", "got 'memory' alone", "put it in quotes, 'memory>=…'"),
        ("cuda=>12", "got 'cuda=>12'", "the comparisons are >= <= == != > <"),
        ("cuda>=", "got 'cuda>='", "the comparisons are"),
        ("cuda>=11,", "got 'cuda'", "the comparisons are"),
        ("cuda~=12", "got 'cuda~=12'", "the comparisons are"),
        ("cuda>=abc", "--require cuda: expected a version such as 12 or 11.8, got 'abc'", None),
        ("cores>=2.5", "--require cores: expected a whole number, got '2.5'", None),
        ("memory>=lots", "--require memory: expected a quantity such as 2GB", None),
        ("swap_buffer>=300%", "expected a share between 0% and 100%, got '300%'", None),
        ("avx512>=3", "avx512 is there or not, expected avx512 or avx512=any", None),
        ("jit=no", "jit is there or not", None),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_way_out(
    text: str, message: str, hint: str | None
) -> None:
    with pytest.raises(InputError) as caught:
        parse_requirement(text, KINDS, "--require")
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    if hint is None:
        assert caught.value.hint is None
    else:
        assert hint in (caught.value.hint or "")
