"""Graphs that are kept serve later processes, other weights, and nobody else."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deepseek
from deepseek.compiler import compile as compile_module
from tests.compiler.conftest import MODELS, gpt2, ids, llama
from tests.compiler.test_compile import assert_close, eager

Case = tuple[nn.Module, Callable[[int, int], dict[str, Tensor]]]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where graphs are kept during a test."""
    monkeypatch.setenv("DEEPSEEK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DEEPSEEK_KEEP_GRAPHS")
    return tmp_path / "cache" / "graphs"


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The classes of models that are run in order to capture them, as they come."""
    found: list[str] = []
    capture = compile_module.capture

    def noted(model: nn.Module, inputs: Any) -> Any:
        found.append(type(model).__name__)
        return capture(model, inputs)

    monkeypatch.setattr(compile_module, "capture", noted)
    return found


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "fp32") for name in MODELS), ("bert", "bf16"), ("bert", "int8")],
)
def test_another_compilation_finds_the_graph(
    name: str, precision: str, captures: list[str]
) -> None:
    make, inputs = MODELS[name]
    torch.manual_seed(0)
    model = make().eval()
    first = deepseek.compile(model, precision)
    expected = first(**inputs(2, 9))
    torch.manual_seed(0)
    second = deepseek.compile(make().eval(), precision)
    torch.manual_seed(1)
    for batch, length in ((2, 9), (5, 13), (5, 13), (5, 13)):
        given = inputs(batch, length)
        assert_close(second(**given), first(**given), 0.0)
    assert type(second(**inputs(2, 9))) is type(expected)
    assert len(captures) == 1
    lines = [
        [re.sub(r"pointwise_\d+", "", str(node.target)) for node in captured.graph.nodes]
        for captured in (compiled.compilations[0].captured for compiled in (first, second))
    ]
    assert lines[0] == lines[1]


def test_weights_are_the_models_own(captures: list[str]) -> None:
    make, inputs = MODELS["bert"]
    for seed in range(2):
        torch.manual_seed(seed)
        model = make().eval()
        given = inputs(3, 7)
        assert_close(deepseek.compile(model)(**given), eager(model, given))
    assert len(captures) == 1


def test_a_cache_of_keys_and_values(captures: list[str]) -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        model = llama().eval()
        model.config.use_cache = True
        compiled = deepseek.compile(model)
        first = compiled(**ids(1, 6))
        results.append(compiled(input_ids=torch.tensor([[7]]), cache=first.past_key_values))
        assert compiled.refusal is None
    torch.testing.assert_close(results[0].logits, results[1].logits, rtol=0, atol=0)
    assert len(captures) == 2  # one graph with a cache, one without


def test_sizes_that_a_graph_does_not_take_have_one_of_their_own(
    captures: list[str], folder: Path
) -> None:
    model = nn.Bilinear(4, 4, 2).eval()  # of at most two dimensions here, whatever the batch
    pairs = [(torch.randn(batch, 4), torch.randn(batch, 4)) for batch in (1, 3, 4)]
    for _ in range(2):
        compiled = deepseek.compile(model)
        for pair in pairs:
            torch.testing.assert_close(compiled(*pair), model(*pair).detach())
    assert len(captures) == 2 == len(list(folder.iterdir()))


def test_a_damaged_entry_is_made_again(captures: list[str], folder: Path) -> None:
    model = gpt2().eval()
    given = ids(2, 5)
    for content in (b"", b"dsk1 and no more", None):
        assert_close(deepseek.compile(model)(**given), eager(model, given))
        (entry,) = folder.iterdir()
        if content is not None:
            entry.write_bytes(content)
    assert len(captures) == 3
    deepseek.compile(model)(**given)
    assert len(captures) == 3


def test_turned_off(captures: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_KEEP_GRAPHS", "0")
    for _ in range(2):
        deepseek.compile(gpt2().eval())(**ids(2, 5))
    assert len(captures) == 2
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_no_error(
    captures: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPSEEK_CACHE", str(tmp_path / "file"))
    model = gpt2().eval()
    given = ids(2, 5)
    assert_close(deepseek.compile(model)(**given), eager(model, given))
    assert len(captures) == 1


OWN_MODEL = """
from torch import nn

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) + {number}
"""


def imported(file: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("own_model", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["own_model"] = module
    specification.loader.exec_module(module)
    return module


def test_a_changed_source_is_another_model(
    captures: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "own_model", None)
    file, x = tmp_path / "own_model.py", torch.randn(2, 4)
    for number in (1, 20):
        file.write_text(OWN_MODEL.format(number=number))
        for _ in range(2):
            model = imported(file).Own().eval()
            torch.testing.assert_close(deepseek.compile(model)(x), model(x).detach())
    assert len(captures) == 2


PROCESS = """
import torch, deepseek
from deepseek.compiler import compile as module
from tests.compiler.conftest import bert, ids

def refuse(*_):
    raise RuntimeError("captured again")

torch.manual_seed(0)
model = bert().eval()
if {again}:
    module.capture = refuse
compiled = deepseek.compile(model)
result = compiled(**ids(2, 8)).last_hidden_state
assert compiled.refusal is None, compiled.refusal
print(result.double().sum().item())
"""


def test_a_second_process_finds_the_graph() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", PROCESS.format(again=again)],
            capture_output=True, check=True, text=True,
        ).stdout
        for again in (False, True)
    ]  # fmt: skip
    assert said[0] == said[1]
