from collections.abc import Callable
from typing import Any

import pytest

from deepseek.health.check import Observation
from deepseek.health.checks import CHECKS
from deepseek.health.machine import Machine
from deepseek.health.programs import Ran

Fake = Callable[..., Machine]
Answer = Callable[..., dict[str, Any]]
BY_ID = {check.id: check for check in CHECKS}
JIT = {"version": "0.50.0", "seconds": 0.02, "llvm": "22.1.0", "processor": "znver3",
       "compile_seconds": 0.015}  # fmt: skip
SEGFAULT = Ran(code=-11)
SLOW = Ran(code=None, overdue=True)


def look(machine: Machine, check: str) -> Observation:
    return BY_ID[check].look(machine)


@pytest.mark.parametrize(
    ("check", "probe"),
    [
        ("torch", "torch_facts"),
        ("transformers", "package transformers"),
        ("onnxruntime", "onnx_providers"),
        ("onnx", "package onnx"),
        ("llvmlite", "jit"),
    ],
)
class TestEveryPackage:
    def test_version_and_time(
        self, fake: Fake, torch_answer: Answer, check: str, probe: str
    ) -> None:
        answer = torch_answer()["torch_facts"] | {"version": "3.4.5+local", "seconds": 1.25}
        seen = look(fake({}, {probe: answer}), check)
        assert (seen.value, seen.found) == ((3, 4, 5), "3.4.5+local, imported in 1.2 s")

    def test_missing(self, fake: Fake, check: str, probe: str) -> None:
        seen = look(fake(), check)
        assert seen.broken
        assert seen.found.startswith("ModuleNotFoundError: No module")
        assert seen.fix.startswith("python -m pip install '")
        assert "{spec}" in seen.fix

    def test_crashing(self, fake: Fake, check: str, probe: str) -> None:
        seen = look(fake({}, {probe: SEGFAULT}), check)
        assert seen.broken
        assert seen.found == "ended by signal 11 (segmentation fault)"

    def test_hanging(self, fake: Fake, check: str, probe: str) -> None:
        seen = look(fake({}, {probe: SLOW}), check)
        assert seen.broken
        assert "no answer within" in seen.found
        assert "cold disk" in seen.meaning

    def test_without_a_version(
        self, fake: Fake, torch_answer: Answer, check: str, probe: str
    ) -> None:
        answer = torch_answer()["torch_facts"] | {"version": "unknown"}
        seen = look(fake({}, {probe: answer}), check)
        assert seen.broken
        assert "got 'unknown'" in seen.found


@pytest.mark.parametrize(
    ("architecture", "package"), [("x86_64", "onnxruntime-gpu"), ("aarch64", "onnxruntime")]
)
def test_the_right_onnxruntime_is_advised(fake: Fake, architecture: str, package: str) -> None:
    seen = look(fake(architecture=architecture), "onnxruntime")
    assert seen.fix == f"python -m pip install '{package}{{spec}}'"


def test_python_is_the_one_that_runs_us(fake: Fake) -> None:
    value = look(fake(), "python").value
    assert isinstance(value, tuple)
    assert value >= (3, 11)


def test_jit_tells_what_it_compiled_for(fake: Fake) -> None:
    seen = look(fake({}, {"jit": JIT}), "jit")
    assert seen.value is True
    assert seen.found == "LLVM 22.1.0 compiled and ran a loop for znver3 in 15.0 ms"


def test_jit_is_pointless_only_without_llvmlite(fake: Fake) -> None:
    (is_pointless,) = BY_ID["jit"].pointless
    missing = Ran(code=1, err="Traceback x\nModuleNotFoundError: No module named 'llvmlite'\n")
    denied = Ran(code=1, err="Traceback x\nMemoryError: cannot map executable pages\n")
    assert is_pointless(fake({}, {"jit": missing})) == "llvmlite does not import"
    assert is_pointless(fake({}, {"jit": denied})) is None
    assert is_pointless(fake({}, {"jit": JIT})) is None
