import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from deepseek.errors import InputError
from deepseek.health.checks import KINDS
from deepseek.health.config import DoctorConfig
from deepseek.health.profiles import profile_summaries, wanted

TABLE = tomllib.loads((files("deepseek") / "configs" / "doctor.toml").read_text())
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("profile", TABLE["profile"])
def test_every_profile_speaks_of_checks_that_exist(profile: str) -> None:
    asked = wanted(profile, (), KINDS)
    assert asked.summary == profile_summaries()[profile]
    assert asked.requirements.keys() <= KINDS.keys()
    assert all(r.origin == f"profile {profile}" for r in asked.requirements.values())


def test_the_profiles_are_the_choices_of_the_command() -> None:
    hint = get_type_hints(DoctorConfig)["profile"]
    assert set(get_args(hint)) == set(TABLE["profile"])


def test_the_file_has_no_keys_that_nobody_reads() -> None:
    assert TABLE.keys() == {"common", "profile", "known_bad"}
    for table in [TABLE["common"], *TABLE["profile"].values()]:
        assert table.keys() <= {"summary", "require", "advise", "waive"}
        both = set(table.get("require", ())) & set(table.get("advise", ()))
        assert both == set()


@pytest.mark.parametrize("package", ["torch", "transformers", "onnxruntime", "onnx", "llvmlite"])
def test_package_versions_are_those_the_project_depends_on(package: str) -> None:
    pattern = re.compile(rf"{package}([<>=!].*?)(;.*)?")
    specs = [match[1] for line in PROJECT["dependencies"] if (match := pattern.fullmatch(line))]
    assert set(wanted("cpu", (), KINDS).of(package).spec.split(",")) == set(specs[0].split(","))


def test_python_is_the_one_the_project_needs() -> None:
    assert wanted("cpu", (), KINDS).of("python").spec == PROJECT["requires-python"]


def test_cuda11_is_the_published_environment() -> None:
    asked = wanted("cuda11", (), KINDS)
    required = {name: r.spec for name, r in asked.requirements.items() if r.level == "require"}
    assert required["avx512"] == ""
    assert required["nccl"] == ">=2.8"
    assert required["gpu"] == ">=1"
    cuda = asked.of("cuda")
    assert [cuda.met_by(v) for v in [(11, 0), (11, 8), (12, 0), (10, 2)]] == [
        True,
        True,
        False,
        False,
    ]
    assert asked.of("swap_buffer").met_by(0.2)
    assert not asked.of("swap_buffer").met_by(0.199)


@pytest.mark.parametrize("profile", TABLE["profile"])
def test_cuda_12_0_is_known_to_be_bad_whatever_the_profile(profile: str) -> None:
    asked = wanted(profile, ("cuda=any",), KINDS)
    assert asked.known_bad_versions("cuda") == ["12.0"]
    assert "12.0 is named as incompatible" in asked.known_trouble("cuda", (12, 0))
    assert asked.known_trouble("cuda", (12, 1)) == ""
    assert asked.known_trouble("cuda", None) == ""


def test_cuda12_leaves_the_bad_version_out() -> None:
    cuda = wanted("cuda12", (), KINDS).of("cuda")
    assert [cuda.met_by(v) for v in [(12, 0), (12, 6), (13, 0)]] == [False, True, False]


def test_ci_asks_for_nothing_that_a_small_machine_lacks() -> None:
    asked = wanted("ci", (), KINDS)
    assert asked.of("gloo").level == "require"
    assert [asked.of(name).level for name in ("avx512", "vnni", "shm")] == [None] * 3


def test_an_override_replaces_the_profile_and_the_last_one_wins() -> None:
    asked = wanted("cuda11", ("cuda>=12", "cuda>=12.4", "avx512=any"), KINDS)
    assert asked.of("cuda").spec == ">=12.4"
    assert asked.of("cuda").origin == "--require"
    assert asked.of("avx512").level is None
    assert asked.of("nccl").origin == "profile cuda11"


def test_bounds_that_were_split_at_their_comma_are_put_together() -> None:
    assert wanted("cpu", ("cuda>=11", "<12", "cores>=4"), KINDS).of("cuda").spec == ">=11,<12"


def test_a_misspelt_profile_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="expected one of cpu, cuda11, cuda12, ci") as caught:
        wanted("cuda1", (), KINDS)
    assert caught.value.hint in ("did you mean cuda11?", "did you mean cuda12?")
