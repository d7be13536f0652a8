"""The backend in several threads, after a fork, and where there is no compiler and no home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.compiler.conftest import at_once, layers, same, through_dynamo

ROOT = Path(__file__).resolve().parents[2]


PROGRAM = """
import torch
from deepseek.compiler.backend import deepseek
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Softmax(-1)).eval()
fast = torch.compile(model, backend=deepseek)
with torch.no_grad():
    inputs = [torch.randn(64, 64) for _ in range(5)]
    outputs = [model(x) for x in inputs]
def check():
    with torch.no_grad():
        for x, y in zip(inputs, outputs):
            torch.testing.assert_close(fast(x), y, rtol=2e-5, atol=2e-6)
check()
"""
FORK = """
import os, signal
child = os.fork()
if not child:
    signal.alarm(60)
    check()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
check()
"""


def run(*arguments: str, environment: dict[str, str] | None = None) -> None:
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_any_program_on_the_path_and_with_nowhere_to_write(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    places = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "TMPDIR"), str(closed))
    kept = {key: os.environ[key] for key in ("PYTHONPATH", "VIRTUAL_ENV") if key in os.environ}
    environment = {**kept, **places, "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    run("-c", PROGRAM, environment=environment)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_after_a_fork() -> None:
    run("-W", "ignore", "-c", PROGRAM + FORK)


@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.filterwarnings("ignore::FutureWarning:torch")
def test_threads_of_python_at_once() -> None:
    model = layers().eval()
    fast = through_dynamo(model)
    inputs = [torch.randn(3, 8) for _ in range(4)]
    with torch.no_grad():
        expected = [model(x) for x in inputs]

    def check(case: int) -> None:
        with torch.no_grad():
            same(fast(inputs[case]), expected[case])

    at_once(check)
