"""Compiled runs learn the same, keep the names of weights, and are refused where they cannot be."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo import register_backend
from torch._dynamo.backends.registry import _BACKENDS, _COMPILER_FNS
from torch.fx import GraphModule

from deepseek.errors import InputError
from deepseek.training.checkpoint.load import saved_sizes
from deepseek.training.config import TrainConfig
from deepseek.training.train import train

Make = Callable[..., TrainConfig]
Losses = Callable[[Path], list[float]]

# Warnings of torch about itself, which it hides by other means than a filter, or not yet.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]

# More than the eight kinds of a block that torch's compiler puts up with.
DEEP = ("n_layer=10",)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def backend() -> Iterator[Callable[[Callable[..., Any]], None]]:
    """Registers a function as the backend ``deepseek``; what was there comes back."""
    kept = {name: table.pop("deepseek", None) for name, table in tables().items()}
    yield lambda function: register_backend(compiler_fn=function, name="deepseek")
    for name, table in tables().items():
        table.pop("deepseek", None)
        if kept[name] is not None:
            table["deepseek"] = kept[name]


def tables() -> dict[str, dict[str, Any]]:
    return {"backends": _BACKENDS, "functions": _COMPILER_FNS}


def eager(graph: GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
    return graph.forward


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_checkpointing": True, "accumulate": 2},
        pytest.param({"nproc": 1, "ema": 0.5}, id="ema"),
    ],
)
def test_any_registered_backend_compiles_each_block_once(
    tiny: Make,
    tmp_path: Path,
    losses: Losses,
    backend: Callable[[Callable[..., Any]], None],
    changes: dict[str, Any],
) -> None:
    compiled: list[GraphModule] = []

    def watch(graph: GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        if torch.is_grad_enabled():
            compiled.append(graph)
        return eager(graph, inputs)

    backend(watch)
    train(tiny(output=tmp_path / "plain", model_options=DEEP, **changes))
    train(tiny(output=tmp_path / "compiled", model_options=DEEP, compile="deepseek", **changes))
    assert len(compiled) == 1, "ten equal blocks"
    pairs = zip(losses(tmp_path / "plain"), losses(tmp_path / "compiled"), strict=True)
    assert max(abs(a - b) for a, b in pairs) < 1e-6


def test_names_of_weights_are_those_of_a_plain_run(
    tiny: Make, tmp_path: Path, backend: Callable[[Callable[..., Any]], None]
) -> None:
    backend(eager)
    train(tiny(output=tmp_path / "plain"))
    train(tiny(output=tmp_path / "compiled", compile="deepseek"))
    saved = [saved_sizes(tmp_path / name / "checkpoints" / "step-00000006") for name in
             ("plain", "compiled")]  # fmt: skip
    assert saved[0] == saved[1]
    models = [load_file(tmp_path / name / "model" / "model.safetensors") for name in
              ("plain", "compiled")]  # fmt: skip
    assert models[0].keys() == models[1].keys()
    assert not any("_orig_mod" in name for name in [*saved[1], *models[1]])


def test_a_compiled_run_goes_on_uncompiled(
    tiny: Make, tmp_path: Path, losses: Losses, backend: Callable[[Callable[..., Any]], None]
) -> None:
    backend(eager)
    train(tiny(output=tmp_path / "plain"))
    train(tiny(output=tmp_path / "both", steps=3, compile="deepseek"))
    train(tiny(output=tmp_path / "both", resume=True))
    assert losses(tmp_path / "both") == pytest.approx(losses(tmp_path / "plain"), abs=1e-6)


def test_the_exported_model_still_remembers_past_tokens(tiny: Make, tmp_path: Path) -> None:
    train(tiny(steps=1))
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config.get("use_cache", True) is True


def test_a_backend_that_is_not_there_is_refused(
    tiny: Make, tmp_path: Path, backend: Callable[[Callable[..., Any]], None]
) -> None:
    with pytest.raises(InputError, match="none of that name is installed") as refused:
        train(tiny(compile="deepseek"))
    assert refused.value.hint == "--compile inductor, or --compile none"
    assert not (tmp_path / "run").exists()


def test_inductor_without_its_compiler_is_refused(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="found no no-such-compiler"):
        train(tiny(compile="inductor"))
    assert not (tmp_path / "run").exists()


def test_a_compiler_that_fails_is_told_in_one_line(
    tiny: Make, backend: Callable[[Callable[..., Any]], None]
) -> None:
    def fail(graph: GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        raise ValueError("no such instruction\nand much more")

    backend(fail)
    with pytest.raises(InputError) as refused:
        train(tiny(compile="deepseek"))
    assert refused.value.message == "--compile deepseek failed: ValueError: no such instruction"
    assert refused.value.hint == "--compile none trains without"


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"nproc": 2, "pipeline_stages": 2},
        {"nproc": 2, "shard_strategy": "gradient"},
        {"nproc": 2, "shard_strategy": "full", "gradient_checkpointing": True},
        {"nproc": 2},
    ],
    ids=lambda layout: "-".join(str(value) for value in layout.values()) or "alone",
)
def test_inductor_learns_the_same_in_every_layout(
    tiny: Make, tmp_path: Path, losses: Losses, layout: dict[str, Any]
) -> None:
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("inductor needs a C++ compiler")
    train(tiny(output=tmp_path / "plain"))
    train(tiny(output=tmp_path / "compiled", compile="inductor", eval_every=3, **layout))
    pairs = zip(losses(tmp_path / "plain"), losses(tmp_path / "compiled"), strict=True)
    assert max(abs(a - b) for a, b in pairs) < 1e-5
