import json
from collections.abc import Callable
from typing import Any

import pytest

from deepseek.health.check import Observation
from deepseek.health.checks import CHECKS
from deepseek.health.checks.cuda import Toolkit, toolkit
from deepseek.health.machine import Machine
from deepseek.health.programs import Ran

Fake = Callable[..., Machine]
Answer = Callable[..., dict[str, Any]]
BY_ID = {check.id: check for check in CHECKS}
NVCC = "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 12.4, V12.4.131\n"


def look(machine: Machine, check: str) -> Observation:
    return BY_ID[check].look(machine)


def version_json(version: str) -> str:
    return json.dumps({"cuda": {"name": "CUDA SDK", "version": version}, "nsight": {}})


def driver(version: str) -> dict[str, Ran]:
    return {"nvidia-smi": Ran(code=0, out=f"NVIDIA A100, {version}, 40960\n")}


@pytest.mark.parametrize("version", ["11.8", "12.0", "13.0"])
def test_cuda_of_torch(fake: Fake, torch_answer: Answer, version: str) -> None:
    seen = look(fake({}, torch_answer(cuda=version, version="2.13.0+cu")), "cuda")
    assert seen.value == tuple(map(int, version.split(".")))
    assert seen.found == f"{version}, by torch 2.13.0+cu"


def test_a_torch_without_cuda(fake: Fake, torch_answer: Answer) -> None:
    seen = look(fake({}, torch_answer()), "cuda")
    assert (seen.value, seen.found) == (None, "torch 2.13.0+cpu is built without CUDA")
    assert "install a torch built for CUDA {spec}" in seen.fix


@pytest.mark.parametrize(
    ("files", "environ", "found"),
    [
        (
            {"/usr/local/cuda/version.json": version_json("11.3.1")},
            {},
            Toolkit(version=(11, 3, 1), place="/usr/local/cuda"),
        ),
        (
            {"/usr/local/cuda/version.txt": "CUDA Version 10.2.89\n"},
            {},
            Toolkit(version=(10, 2, 89), place="/usr/local/cuda"),
        ),
        (
            {
                "/usr/local/cuda/version.json": version_json("11.3.1"),
                "/opt/cuda/version.json": version_json("12.6.3"),
            },
            {"CUDA_HOME": "/opt/cuda"},
            Toolkit(version=(12, 6, 3), place="/opt/cuda"),
        ),
        (
            {
                "/usr/local/cuda-11.8/version.json": version_json("11.8.0"),
                "/usr/local/cuda-12.1/version.json": version_json("12.1.0"),
            },
            {},
            Toolkit(version=(12, 1, 0), place="/usr/local/cuda-12.1"),
        ),
        ({}, {}, None),
    ],
)
def test_where_a_toolkit_is_found(
    fake: Fake, files: dict[str, str], environ: dict[str, str], found: Toolkit | None
) -> None:
    assert toolkit(fake(files, environ=environ)) == found


@pytest.mark.parametrize("text", ["", "{", '{"cuda": 3}', '{"cuda": {"version": "?"}}', "[]"])
def test_a_damaged_version_file(fake: Fake, text: str) -> None:
    files = {"/usr/local/cuda/version.json": text}
    seen = look(fake(files), "toolkit")
    assert seen.broken
    assert seen.found == "/usr/local/cuda does not say its version"
    # the compiler itself is asked next
    asked = look(fake(files, {"nvcc": Ran(code=0, out=NVCC)}), "toolkit")
    assert (asked.value, asked.found) == ((12, 4), "12.4 (nvcc)")


def test_no_toolkit_is_no_trouble(fake: Fake) -> None:
    seen = look(fake(), "toolkit")
    assert (seen.value, seen.broken) == (None, False)


@pytest.mark.parametrize(
    ("cuda", "installed", "files", "good", "found"),
    [
        ("11.8", "450.80.02", {}, True, "driver 450.80.02 runs CUDA 11.8"),
        ("12.6", "525.60.13", {}, True, "driver 525.60.13 runs CUDA 12.6"),
        ("12.6", "580.95.05", {}, True, "driver 580.95.05 runs CUDA 12.6"),
        ("12.6", "470.82.01", {}, False,
         "driver 470.82.01; torch's CUDA 12.6 needs at least 525.60.13"),
        ("13.0", "535.104.05", {}, False,
         "driver 535.104.05; torch's CUDA 13.0 needs at least 580.65.6"),
        ("12.6", "535.104.05", {"/usr/local/cuda/version.json": version_json("11.8.0")}, False,
         "toolkit 11.8.0 in /usr/local/cuda, torch for CUDA 12.6"),
        ("12.6", "535.104.05", {"/usr/local/cuda/version.json": version_json("12.1.0")}, True,
         "driver 535.104.05 runs CUDA 12.6"),
        ("12.6", "535.104.05", {"/usr/local/cuda/version.json": "damaged"}, True,
         "driver 535.104.05 runs CUDA 12.6"),
    ],
)  # fmt: skip
def test_versions_that_fit_together(
    fake: Fake, torch_answer: Answer, cuda: str, installed: str, files: dict[str, str],
    good: bool, found: str,
) -> None:  # fmt: skip
    machine = fake(files, torch_answer(cuda=cuda) | driver(installed))
    seen = look(machine, "cuda_match")
    assert (seen.value, seen.found) == (good, found)
    assert good or seen.fix


def test_a_gpu_that_computes(fake: Fake, torch_answer: Answer) -> None:
    probe = {"cuda": {"devices": ["A100 (sm_80)", "A100 (sm_80)"], "problem": None}}
    seen = look(fake({}, torch_answer(cuda="12.6") | driver("535.1") | probe), "cuda_works")
    assert (seen.value, seen.found) == (True, "A100 (sm_80); A100 (sm_80)")


def test_a_gpu_that_does_not_compute(fake: Fake, torch_answer: Answer) -> None:
    problem = "A100 (sm_80): CUDA error: no kernel image is available"
    probe = {"cuda": {"devices": [], "problem": problem}}
    seen = look(fake({}, torch_answer(cuda="12.6") | driver("535.1") | probe), "cuda_works")
    assert (seen.value, seen.found) == (False, problem)


def test_a_gpu_beside_a_torch_without_cuda(fake: Fake, torch_answer: Answer) -> None:
    machine = fake({}, torch_answer() | driver("535.1"))
    works = look(machine, "cuda_works")
    assert (works.value, works.found) == (False, "torch is built without CUDA")
    assert "{spec}" not in works.fix
    assert look(machine, "cuda_match").value is None


@pytest.mark.parametrize("check", ["cuda_match", "cuda_works"])
def test_without_a_gpu_there_is_nothing_to_fit(
    fake: Fake, torch_answer: Answer, check: str
) -> None:
    seen = look(fake({}, torch_answer(cuda="12.6")), check)
    assert (seen.value, seen.broken, seen.found) == (None, False, "no NVIDIA GPU here")
