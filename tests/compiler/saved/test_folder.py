"""A saved model gives what the compiled one gave, and a folder that does not fit is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import deepseek
from deepseek.compiler import load, save
from deepseek.errors import InputError

Case = tuple[nn.Module, Callable[[int, int], dict[str, Tensor]]]


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(list(tree.values())) if isinstance(leaf, Tensor)]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_loaded_model_gives_the_same_bits(
    model_and_inputs: Case, precision: str, tmp_path: Path
) -> None:
    model, make = model_and_inputs
    compiled = deepseek.compile(model, precision=precision)
    inputs = make(2, 9)
    expected = compiled(**inputs)
    loaded = load(save(compiled, tmp_path / "saved"))
    for _ in range(4):
        got = loaded(**inputs)
        assert list(got) == list(expected)
        for a, b in zip(tensors(got), tensors(expected), strict=True):
            assert torch.equal(a, b)
    other = make(5, 12)
    for a, b in zip(tensors(loaded(**other)), tensors(compiled(**other)), strict=True):
        assert torch.equal(a, b)


def test_fields_by_name_and_by_place(tmp_path: Path) -> None:
    from tests.compiler.conftest import bert, ids

    compiled = deepseek.compile(bert().eval())
    inputs = ids(2, 5)
    expected = compiled(**inputs)
    got = load(save(compiled, tmp_path / "saved"))(**inputs)
    assert torch.equal(got.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(got[1], expected.pooler_output)
    assert not hasattr(got, "nothing")


def test_one_tensor_for_two_arguments_and_names_in_another_order(tmp_path: Path) -> None:
    from tests.compiler.conftest import bert, masked_ids

    compiled = deepseek.compile(bert().eval())
    compiled(**masked_ids(2, 5))
    loaded = load(save(compiled, tmp_path / "saved"))
    ones = torch.ones(3, 7, dtype=torch.long)
    expected = compiled(input_ids=ones, attention_mask=ones.clone())[0]
    assert torch.equal(loaded(input_ids=ones, attention_mask=ones)[0], expected)
    assert torch.equal(loaded(attention_mask=ones, input_ids=ones)[0], expected)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor, twice: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        y = torch.sigmoid(self.a(x)) * torch.tanh(self.b(x)) + x.clamp(-1, float("inf"))
        return (y * 2 if twice else y), {"half": x[: x.shape[0] // 2]}


def test_constants_among_inputs_choose_the_graph(tmp_path: Path) -> None:
    compiled = deepseek.compile(Gated().eval())
    x = torch.randn(6, 8)
    expected = [compiled(x), compiled(x, twice=True)]
    loaded = load(save(compiled, tmp_path / "saved"))
    for got, want in zip((loaded(x), loaded(x, twice=True)), expected, strict=True):
        assert torch.equal(got[0], want[0])
        assert torch.equal(got[1]["half"], want[1]["half"])
    with pytest.raises(InputError, match="of a kind that the model was saved for"):
        loaded(x, twice=3)
    with pytest.raises(InputError, match=r"tensors of \(6, 9\)"):
        loaded(torch.randn(6, 9))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    compiled = deepseek.compile(Gated().eval())
    compiled(torch.randn(6, 8))
    return save(compiled, tmp_path / "saved")


def change(folder: Path, key: str, value: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[key] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_loading_imports_no_transformers(folder: Path) -> None:
    program = (
        "import sys, torch; from deepseek.compiler.saved import load\n"
        f"print(load({str(folder)!r})(torch.ones(4, 8))[0].shape)\n"
        "assert 'transformers' not in sys.modules and 'onnx' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "torch.Size([4, 8])\n"


def test_nothing_compiled_is_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has not been called yet"):
        save(deepseek.compile(Gated().eval()), tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_kept(folder: Path) -> None:
    compiled = deepseek.compile(Gated().eval())
    compiled(torch.randn(6, 8))
    with pytest.raises(InputError, match="exists already"):
        save(compiled, folder)


@pytest.mark.parametrize("missing", ["manifest.json", "weights.safetensors"])
def test_a_file_is_missing(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(InputError, match=missing):
        load(folder)


def test_changed_weights_are_refused(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match="found it changed"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", "deepseek.program/9", "found deepseek.program/9"),
        ("version", "0.0.1", "got 0.0.1"),
        ("target", {"architecture": "aarch64"}, "got one for aarch64"),
        ("graphs", [{}], "found it damaged"),
        ("weights", {"bytes": 1, "xxh3_128": []}, "found it changed"),
        ("weights", {"bytes": 1}, "found it damaged"),
        ("weights", "../weights.safetensors", "found it damaged"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, key: str, value: Any, message: str) -> None:
    change(folder, key, value)
    with pytest.raises(InputError, match=message):
        load(folder)


@pytest.mark.parametrize(
    "target",
    [
        {"@operator": "aten.from_file.default"},
        {"@operator": "prim.device.default"},
        {"@operator": "aten.no_such_operator.default"},
        {"@python": "eval"},
        {"@": "os.system"},
        {"@call": "x"},
    ],
    ids=str,
)
def test_a_graph_can_name_only_what_graphs_are_made_of(folder: Path, target: Any) -> None:
    graphs = json.loads((folder / "manifest.json").read_text())["graphs"]
    node = next(node for node in graphs[0]["nodes"] if node["op"] == "call_function")
    node["target"] = target
    change(folder, "graphs", graphs)
    with pytest.raises(InputError, match="expected a"):
        load(folder)


def test_panels_of_other_sizes_are_refused(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    graphs = json.loads(text)["graphs"]
    for node in graphs[0]["nodes"]:
        target = node.get("target")
        if isinstance(target, dict) and target.get("@") == "Linear":
            target["weight"]["features"] = 8000
    change(folder, "graphs", graphs)
    with pytest.raises(InputError, match="expected panels of"):
        load(folder)
