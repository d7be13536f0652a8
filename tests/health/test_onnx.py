from collections.abc import Callable, Mapping
from typing import Any

import pytest

from deepseek.health.check import Observation
from deepseek.health.checks import CHECKS
from deepseek.health.machine import Machine

Fake = Callable[..., Machine]
BY_ID = {check.id: check for check in CHECKS}
CPU, CUDA, TENSORRT = (f"{n}ExecutionProvider" for n in ("CPU", "CUDA", "Tensorrt"))
STDERR = (
    "\x1b[1;31m[E:onnxruntime:Default] Failed to load library /x/libonnxruntime_providers_tensorrt"
    ".so with error: libcublas.so.13: cannot open shared object file\n\x1b[m"
    "Failed to load library /x/libonnxruntime_providers_cuda.so with error: "
    "libcublasLt.so.13: cannot open shared object file: No such file or directory\n"
)


def look(fake: Fake, check: str, providers: Mapping[str, Any], stderr: str = "") -> Observation:
    answer = {"version": "1.31.1", "seconds": 0.2, "providers": providers, "stderr": stderr}
    return BY_ID[check].look(fake({}, {"onnx_providers": answer}))


def test_the_cpu_provider_ran(fake: Fake) -> None:
    seen = look(fake, "onnx_cpu", {CPU: None})
    assert (seen.value, seen.found) == (True, "ran a model")


@pytest.mark.parametrize(
    ("providers", "found"),
    [
        ({CPU: "Fail: no such\nkernel"}, "Fail: no such kernel"),
        ({CUDA: None}, "it is not in this build"),
    ],
)
def test_a_cpu_provider_that_does_not_run(
    fake: Fake, providers: dict[str, Any], found: str
) -> None:
    seen = look(fake, "onnx_cpu", providers)
    assert (seen.value, seen.found) == (False, found)


def test_a_listed_provider_without_its_libraries_does_not_count(fake: Fake) -> None:
    lying = {TENSORRT: "it does not load", CUDA: "it does not load", CPU: None}
    seen = look(fake, "onnx_gpu", lying, STDERR)
    assert seen.value is False
    assert seen.found == "Tensorrt: lacks libcublas.so.13; CUDA: lacks libcublasLt.so.13"
    assert "onnxruntime-gpu[cuda,cudnn]" in seen.fix


def test_cuda_is_enough_where_tensorrt_is_not_there(fake: Fake) -> None:
    seen = look(fake, "onnx_gpu", {TENSORRT: "it does not load", CUDA: None, CPU: None}, STDERR)
    assert seen.value is True
    assert seen.found == "Tensorrt: lacks libcublas.so.13; CUDA: ran a model"


def test_a_provider_that_fails_for_another_reason(fake: Fake) -> None:
    seen = look(fake, "onnx_gpu", {CUDA: "RuntimeError: CUDA failure 100", CPU: None})
    assert seen.found == "CUDA: RuntimeError: CUDA failure 100"


def test_a_build_for_cpus_alone(fake: Fake) -> None:
    seen = look(fake, "onnx_gpu", {CPU: None})
    assert (seen.value, seen.found) == (None, "this build has none")


def test_without_onnx_runtime_both_are_pointless(fake: Fake) -> None:
    for check in ("onnx_cpu", "onnx_gpu"):
        reasons = [is_pointless(fake()) for is_pointless in BY_ID[check].pointless]
        assert "ONNX Runtime does not import" in reasons
