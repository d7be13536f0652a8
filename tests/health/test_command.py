"""``deepseek doctor`` as a user meets it, in processes of its own."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest

from deepseek.health.checks import CHECKS

PROGRAM = "from ds_cli.main import main; main()"
ROOT = Path(__file__).resolve().parents[2]
HAS_NVIDIA = Path("/proc/driver/nvidia").exists()
# what the command line itself stands on
LIGHT = ("typer", "rich", "pydantic", "pydantic_core", "annotated_types", "annotated_doc",
         "typing_extensions", "typing_inspection", "markdown_it", "mdurl", "pygments",
         "shellingham")  # fmt: skip


def doctor(
    *arguments: str, python: str = sys.executable, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", PROGRAM, "doctor", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def statuses(run: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in json.loads(run.stdout)["checks"]}


def test_this_machine_is_fit_and_every_check_has_a_verdict() -> None:
    begin = time.monotonic()
    run = doctor("--json")
    assert time.monotonic() - begin < 20
    assert run.returncode == 0, run.stdout
    assert run.stderr == ""
    found = statuses(run)
    assert found.keys() == {check.id for check in CHECKS}
    assert {found[name] for name in ("torch", "jit", "onnx_cpu", "cache", "memory")} == {"pass"}
    if not HAS_NVIDIA:
        groups = {check.id: check.group for check in CHECKS}
        assert {found[name] for name in found if groups[name] == "nvidia"} == {"skip"}


@pytest.mark.skipif(HAS_NVIDIA, reason="is about machines without a GPU")
def test_the_published_design_is_missed_here_and_the_reason_is_stated() -> None:
    run = doctor("--profile", "cuda11", "--only", "processor,nvidia,nccl", COLUMNS="120")
    assert run.returncode == 1
    lines = [line.split() for line in run.stdout.splitlines()]
    assert ["found", "no", "NVIDIA", "GPU", "here"] in lines
    assert ["expected", "NVIDIA", "GPUs", ">=1"] in lines
    assert any(line[:2] == ["expected", "CUDA"] and "12.0" in " ".join(line) for line in lines)
    assert "not fit for profile cuda11" in run.stdout
    flags = Path("/proc/cpuinfo").read_text()
    assert (["2", "FAIL", "AVX-512"] in [line[:3] for line in lines]) is ("avx512vl" not in flags)


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["--profile", "cuda13"], "expected one of cpu, cuda11, cuda12, ci", "did you mean cuda"),
        (["--only", "torhc"], "name of a check or group, got 'torhc'", "did you mean torch?"),
        (["--require", "cdua>=12"], "the name of a check, got 'cdua'", "did you mean cuda?"),
        (["--require", "cuda"], "got 'cuda' alone", "the shell takes > for itself"),
        (["--format", "xml"], "expected one of text, json, junit, github, got 'xml'", None),
        (["--fail_on", "skip"], "expected one of fail, warn, got 'skip'", None),
        (["--list", "--format", "github"], "expected --format text or json", "leave --list away"),
    ],
)
def test_wrong_usage(arguments: list[str], error: str, hint: str | None) -> None:
    run = doctor(*arguments)
    assert run.returncode == 2
    assert run.stdout == ""
    lines = run.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert error in lines[0]
    assert len(lines) == 1 + (hint is not None)
    assert hint is None or (lines[1].startswith("hint: ") and hint in lines[1])


def test_a_single_requirement_decides() -> None:
    assert doctor("--only", "cores", "--require", "cores>=1").returncode == 0
    run = doctor("--only", "cores", "--require", "cores>=100000", "--json")
    assert run.returncode == 1
    assert json.loads(run.stdout)["checks"][0]["origin"] == "--require"


def test_warnings_fail_when_asked() -> None:
    arguments = ["--only", "shm", "--require", "shm=any"]
    assert doctor(*arguments, "--fail_on", "warn").returncode == 0
    threads = ["--only", "threads", "--json"]
    run = doctor(*threads, "--fail-on", "warn", OMP_NUM_THREADS="zero")
    assert (run.returncode, statuses(run)) == (1, {"threads": "warn"})
    assert doctor(*threads, OMP_NUM_THREADS="zero").returncode == 0


def test_options_from_the_environment() -> None:
    run = doctor("--json", DEEPSEEK_DOCTOR_ONLY="cores,memory",
                 DEEPSEEK_DOCTOR_REQUIRE="cuda>=11,<12,cores>=1")  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert statuses(run) == {"cores": "pass", "memory": "pass"}


def test_formats_come_out_as_they_are() -> None:
    only = ["--only", "avx2,sve,cores,cache", "--require", "avx2=any"]
    as_json = doctor(*only, "--format", "json", COLUMNS="20")
    assert json.loads(as_json.stdout)["schema"] == "deepseek.doctor/1"
    junit = Tree.fromstring(doctor(*only, "--format", "junit", COLUMNS="20").stdout.encode())
    assert junit.get("tests") == str(len(statuses(as_json)))
    github = doctor(*only, "--format", "github", COLUMNS="20").stdout.splitlines()
    assert github[-1].startswith("::notice title=deepseek doctor::")
    assert len(github) == len(statuses(as_json)) + 1


def test_a_pipe_gets_no_colour_and_stderr_is_silent() -> None:
    run = doctor("--only", "cores,memory,shm")
    assert "\x1b" not in run.stdout
    assert run.stderr == ""
    assert "Cores and memory" in run.stdout


def test_the_list_runs_nothing() -> None:
    run = doctor("--list", PATH="/nowhere")
    assert run.returncode == 0
    assert "--profile cuda11" in run.stdout
    assert json.loads(doctor("--list", "--json").stdout)["checks"][0]["id"] == "avx2"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise RuntimeError('CUDA driver is\\n  insufficient')", "RuntimeError: CUDA driver is"),
        ("import os; os.kill(os.getpid(), 11)", "signal 11 (segmentation fault)"),
        ("raise SystemExit(0)", "ended without an answer"),
        ("print('{not json'); raise ImportError('libcudart.so.11.0')", "libcudart.so.11.0"),
    ],
)
def test_a_broken_torch_fails_alone(tmp_path: Path, body: str, reason: str) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(body)
    run = doctor("--only", "torch,torch_isa,threads,gloo,nccl,jit,onnx_cpu,cores,cache", "--json",
                 PYTHONPATH=str(tmp_path))  # fmt: skip
    assert run.returncode == 1
    assert run.stderr == ""
    found = statuses(run)
    assert found.pop("torch") == "fail"
    assert {found[name] for name in ("torch_isa", "threads", "gloo", "nccl")} == {"skip"}
    assert {found[name] for name in ("jit", "onnx_cpu", "cores", "cache")} == {"pass"}
    torch = next(c for c in json.loads(run.stdout)["checks"] if c["id"] == "torch")
    assert reason in torch["found"]
    assert torch["fix"] == "python -m pip install 'torch>=2.13,<2.15'"


@pytest.fixture(scope="module")
def python_without_torch(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A virtual environment that holds what the command line needs, and nothing more."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in LIGHT:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (site / source.name).symlink_to(source)
    for name in ("deepseek", "ds_cli"):
        (site / name).symlink_to(ROOT / name)
    return str(folder / "bin" / "python")


def test_it_works_where_torch_and_the_rest_are_absent(python_without_torch: str) -> None:
    run = doctor("--json", python=python_without_torch)
    assert run.returncode == 1, run.stderr
    assert run.stderr == ""
    found = statuses(run)
    assert found.keys() == {check.id for check in CHECKS}
    packages = ("torch", "transformers", "onnxruntime", "onnx", "llvmlite")
    assert {found[name] for name in packages} == {"fail"}
    # required, and nothing to look at without the package
    assert {found[name] for name in ("jit", "onnx_cpu")} == {"fail"}
    assert {found[name] for name in ("torch_isa", "gloo")} == {"skip"}
    assert {found[name] for name in ("python", "memory", "cache", "disk")} == {"pass"}
    checks = {check["id"]: check for check in json.loads(run.stdout)["checks"]}
    assert checks["torch"]["found"] == "ModuleNotFoundError: No module named 'torch'"
    assert checks["gloo"]["found"] == "torch does not import"


def test_ctrl_c_ends_it_and_what_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho $$ >{pid_file}.new; mv {pid_file}.new {pid_file}\n"
                       "exec sleep 60\n")  # fmt: skip
    program.chmod(0o755)
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "doctor", "--only", "gpu"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 20
    while not pid_file.exists() and time.monotonic() < end:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=10)
    assert (run.returncode, out, err) == (130, "", "error: interrupted\n")
    state = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    end = time.monotonic() + 3
    while state.exists() and ") Z " not in state.read_text() and time.monotonic() < end:
        time.sleep(0.02)
    assert not state.exists() or ") Z " in state.read_text()
