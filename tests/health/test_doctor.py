"""The whole of it, on fake machines and on the real one."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from deepseek.errors import InputError
from deepseek.health import DoctorConfig, Machine, Report, examine
from deepseek.health.check import Status
from deepseek.health.checks import CHECKS, GROUPS
from deepseek.health.config import parse_names
from deepseek.health.programs import Ran

Fake = Callable[..., Machine]
Answer = Callable[..., dict[str, Any]]

PACKAGES = {
    "package transformers": {"version": "5.24.0", "seconds": 0.5},
    "package onnx": {"version": "1.23.2", "seconds": 0.2},
    "jit": {"version": "0.50.0", "seconds": 0.02, "llvm": "22.1.0", "processor": "sapphirerapids",
            "compile_seconds": 0.01},
    "onnx_providers": {"version": "1.31.1", "seconds": 0.2,
                       "providers": {"CUDAExecutionProvider": None, "CPUExecutionProvider": None}},
    "folder": {"there": True, "free": 50 * 10**9, "total": 99 * 10**9, "error": None},
    "cuda": {"devices": ["A100 (sm_80)"], "problem": None},
    "nvidia-smi": Ran(code=0, out="NVIDIA A100, 525.60.13, 40960\n"),
}  # fmt: skip
SERVER = {
    "/proc/cpuinfo": "model name : Xeon\nflags : fma avx2 avx512f avx512dq avx512cd avx512bw "
    "avx512vl avx512_vnni avx512_bf16 amx_tile amx_int8 amx_bf16\n",
    "/proc/meminfo": "MemTotal: 60000000 kB\nMemAvailable: 50000000 kB\n",
    "/sys/devices/system/node/node0/cpulist": "0-1\n",
    "/dev/shm/x": "",
}


def statuses(report: Report) -> dict[str, Status]:
    return {verdict.check.id: verdict.status for verdict in report.verdicts}


def missed(report: Report) -> set[str]:
    return {name for name, status in statuses(report).items() if status is Status.FAIL}


def server(fake: Fake, torch: Mapping[str, Any], **answers: Any) -> Machine:
    return fake(SERVER, {**PACKAGES, **torch, **answers}, environ={"HOME": "/home/me"})


def test_a_machine_of_the_published_design_is_fit(fake: Fake, torch_answer: Answer) -> None:
    torch = torch_answer(cuda="11.8", nccl=[2, 14, 3], capability="AVX512")
    report = examine(DoctorConfig(profile="cuda11"), server(fake, torch))
    assert report.passed, report.summary
    assert report.count(Status.WARN) == 0
    assert report.host.processor == "Xeon"


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"cuda": "12.0"}, {"cuda"}),
        ({"cuda": "12.6"}, {"cuda"}),
        ({"nccl": [2, 7, 8]}, {"nccl"}),
        ({"nccl": None}, {"nccl"}),
        ({"cuda": None}, {"cuda", "cuda_match", "cuda_works"}),
        ({"version": "2.8.0"}, {"torch"}),
    ],
)
def test_one_thing_amiss_fails_cuda11(
    fake: Fake, torch_answer: Answer, change: dict[str, Any], failing: set[str]
) -> None:
    good = {"cuda": "11.8", "nccl": [2, 14, 3], "capability": "AVX512"}
    report = examine(
        DoctorConfig(profile="cuda11"), server(fake, torch_answer(**{**good, **change}))
    )
    assert missed(report) == failing


def test_an_override_changes_one_requirement(fake: Fake, torch_answer: Answer) -> None:
    torch = torch_answer(cuda="12.6", nccl=[2, 14, 3], capability="AVX512")
    config = DoctorConfig(profile="cuda11", require=("cuda>=12.1",))
    assert examine(config, server(fake, torch)).passed


def test_a_broken_torch_does_not_sink_the_rest(fake: Fake) -> None:
    crash = {"torch_facts": Ran(code=-11)}
    report = examine(DoctorConfig(), server(fake, crash))
    found = statuses(report)
    assert missed(report) == {"torch"}
    assert found["torch_isa"] is found["gloo"] is found["nccl"] is Status.SKIP
    others = ("avx2", "cores", "transformers", "onnx_cpu", "jit", "gpu", "cache", "disk")
    assert {found[name] for name in others} == {Status.PASS}


def test_a_required_all_reduce_fails_without_torch(fake: Fake) -> None:
    report = examine(DoctorConfig(profile="ci"), server(fake, {"torch_facts": Ran(code=1)}))
    assert missed(report) == {"torch", "gloo"}


def test_a_hanging_driver_is_a_warning_on_a_machine_for_cpus(
    fake: Fake, torch_answer: Answer
) -> None:
    hang = {"nvidia-smi": Ran(code=None, overdue=True)}
    torch = torch_answer(capability="AVX512")
    report = examine(DoctorConfig(), server(fake, torch, **hang))
    assert report.passed
    assert statuses(report)["gpu"] is Status.WARN
    assert statuses(report)["cuda"] is Status.SKIP
    strict = examine(DoctorConfig(require=("gpu",)), server(fake, torch, **hang))
    assert missed(strict) == {"gpu"}


def test_nothing_at_all_works_and_the_report_still_comes(fake: Fake) -> None:
    report = examine(DoctorConfig(), fake(environ={"HOME": "/home/me"}))
    assert len(report.verdicts) == len(CHECKS)
    assert {"torch", "transformers", "onnxruntime", "onnx", "llvmlite", "memory"} <= missed(report)
    assert not any("itself failed" in verdict.found for verdict in report.verdicts)


def test_names_may_be_listed_or_repeated() -> None:
    assert parse_names("torch, gloo") == parse_names(["torch", "gloo"]) == ("torch", "gloo")
    assert parse_names(["onnx-cpu,,jit"]) == ("onnx_cpu", "jit")


def test_only_what_is_named_runs(fake: Fake, torch_answer: Answer) -> None:
    machine = server(fake, torch_answer())
    report = examine(DoctorConfig(only=("gloo", "storage")), machine)
    assert [verdict.check.id for verdict in report.verdicts] == ["gloo", "cache", "disk"]
    numbers = [verdict.number for verdict in report.verdicts]
    everything = [check.id for check in CHECKS]
    assert [everything[number - 1] for number in numbers] == ["gloo", "cache", "disk"]


def test_no_check_is_named_like_a_group() -> None:
    assert {check.id for check in CHECKS}.isdisjoint(GROUPS)
    assert {check.group for check in CHECKS} == GROUPS.keys()


@pytest.mark.parametrize(
    ("only", "hint"), [("torhc", "did you mean torch?"), ("zzz", "deepseek doctor --list")]
)
def test_an_unknown_check_is_refused(fake: Fake, only: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"expected the name of a check or group, got '{only}'"
                       ) as caught:  # fmt: skip
        examine(DoctorConfig(only=(only,)), fake())
    assert hint in (caught.value.hint or "")


def test_a_list_has_no_verdicts_for_ci_systems() -> None:
    with pytest.raises(InputError, match="expected --format text or json"):
        DoctorConfig(list=True, format="junit")


def test_the_real_machine_is_fit_for_ci() -> None:
    begin = time.monotonic()
    report = examine(DoctorConfig(profile="ci"))
    assert time.monotonic() - begin < 20
    assert report.passed, report.summary
    found = statuses(report)
    assert found["torch"] is found["gloo"] is found["jit"] is found["onnx_cpu"] is Status.PASS
    assert not any("itself failed" in verdict.found for verdict in report.verdicts)
    slowest = max(verdict.seconds for verdict in report.verdicts)
    assert 0 < slowest <= report.seconds
