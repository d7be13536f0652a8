"""What is explained of a model is what it runs."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import deepseek
from deepseek.compiler.explain import Explanation
from tests.compiler.conftest import MODELS


class Mixed(nn.Module):
    """A layer with a kernel, an operator without one, a product without a constant weight."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        z = torch.cumsum(nn.functional.gelu(self.layer(x)), -1)
        product: Tensor = torch.linalg.solve(torch.eye(16) * 3, z.t()).t() @ y
        return product


@pytest.fixture
def explanation() -> Explanation:
    return deepseek.explain(Mixed().eval(), torch.randn(3, 16), torch.randn(16, 16), runs=2)


def test_kernels_and_what_is_fused_into_them_are_named(explanation: Explanation) -> None:
    words = [step.words for step in explanation.steps if step.kind == "linear"]
    assert words == ["linear float32 16x16 + bias + gelu"]
    assert explanation.launches >= 1
    assert explanation.left >= 3


def test_it_is_said_why_an_operator_is_left(explanation: Explanation) -> None:
    assert explanation.reasons["aten::cumsum"] == "no kernel"
    assert explanation.reasons["aten::matmul"] == "weight not constant"


def test_doubles_are_left_for_their_dtype() -> None:
    told = deepseek.explain(nn.Linear(8, 8).double().eval(), torch.randn(2, 8).double(), runs=1)
    assert told.reasons == {"aten::linear": "dtype float64"}
    assert told.launches == 0


def test_shares_add_up_and_the_table_fits_a_terminal(explanation: Explanation) -> None:
    assert sum(explanation.shares.values()) == pytest.approx(1)
    table = str(explanation)
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "aten::cumsum: no kernel" in table
    assert "linear float32 16x16 + bias + gelu" in table


def test_a_whole_model_in_one_compilation() -> None:
    make, inputs = MODELS["bert"]
    compiled = deepseek.compile(make().eval())
    told = deepseek.explain(compiled, **inputs(2, 9), runs=2)
    assert len(compiled.compilations) == 1
    assert {"attention", "embedding", "linear", "norm"} <= set(told.shares)
    assert [name for name, _ in told.passes][:2] == ["drop_idle", "fold_constants"]
    assert told.arena_bytes > 0
    assert told.replay_seconds > 0


def test_a_trace_has_all_steps_in_their_order(explanation: Explanation, tmp_path: Path) -> None:
    explanation.chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [event["name"] for event in events] == [step.words for step in explanation.steps]
    assert all(a["ts"] <= b["ts"] for a, b in pairwise(events))
    assert {event["ph"] for event in events} == {"X"}


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x - 1


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_runs_uncompiled_says_why() -> None:
    told = deepseek.explain(Branches().eval(), torch.ones(3))
    assert told.steps == ()
    assert str(told) == f"Branches is not captured whole: {told.refusal}"


_PROGRAM = """
import torch, deepseek
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.GELU()).eval()
deepseek.compile(model)(torch.ones(2, 4))
"""


def test_log_and_graphs_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    asked = {"DEEPSEEK_LOG": "compiler", "DEEPSEEK_DUMP_GRAPHS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env={**os.environ, **asked}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert "deepseek.compiler: Sequential: captured in" in done.stderr
    assert "calls after fuse_epilogues" in done.stderr
    (folder,) = tmp_path.iterdir()
    files = sorted(path.name for path in folder.iterdir())
    assert files[0] == "00-drop_idle.txt"
    last = (folder / files[-1]).read_text()
    assert "linear float32 4x4 + bias + gelu(input) : float32[" in last.replace("input_1", "input")
