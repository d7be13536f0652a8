"""Folders whose linear layers are INT8: layers are replaced first, then take their state."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from deepseek.errors import InputError
from deepseek.formats.compressed_tensors import quantization_config
from deepseek.formats.model import load_model
from deepseek.nn.int8_linear import Int8Linear

_LEFT_ALONE = {"bert": ("classifier",), "llama": ("lm_head",)}


def _quantized(model: Any, name: str) -> Any:
    model = copy.deepcopy(model)
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and path not in _LEFT_ALONE[name]:
            model.set_submodule(path, Int8Linear.from_linear(module))
    return model


def _folder(model: Any, name: str, folder: Path) -> Path:
    folder.mkdir()
    state = model.state_dict()
    if name == "llama":  # as transformers saves a tied head
        del state["lm_head.weight"]
    save_file(
        {key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors"
    )
    config = json.loads(model.config.to_json_string())
    config["architectures"] = [type(model).__name__]
    config["quantization_config"] = quantization_config(model, {}, _LEFT_ALONE[name])
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_an_int8_folder_computes_what_was_saved(
    tmp_path: Path, tiny: Callable[[str], Any], name: str
) -> None:
    model = _quantized(tiny(name), name)
    loaded = load_model(_folder(model, name, tmp_path / "int8"))
    layers = [m for m in loaded.model.modules() if isinstance(m, Int8Linear)]
    assert len(layers) == sum(isinstance(m, Int8Linear) for m in model.modules()) > 0
    assert all(layer.weight.dtype == torch.int8 for layer in layers)
    ids = torch.arange(2, 20)[None]
    with torch.inference_mode():
        assert torch.equal(loaded.model(ids).logits, model(ids).logits)
    if name == "llama":
        assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bert.pooler.dense.weight_scale"), r"1 tensors are missing \(bert\.pool"),
        (lambda s: s.update(x=torch.ones(1)), r"1 have no place in it \(x\)"),
        (
            lambda s: s.update({"bert.pooler.dense.weight_scale": torch.ones(3, 1)}),
            r"1 are of another shape \(bert\.pooler\.dense\.weight_scale: \[3, 1\] in the file",
        ),
    ],
)
def test_int8_states_that_do_not_fit(
    tmp_path: Path, tiny: Callable[[str], Any], change: Callable[[Any], Any], message: str
) -> None:
    folder = _folder(_quantized(tiny("bert"), "bert"), "bert", tmp_path / "int8")
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(InputError, match=message):
        load_model(folder)


def test_another_way_of_quantizing_is_refused(tmp_path: Path, tiny: Callable[[str], Any]) -> None:
    folder = _folder(_quantized(tiny("bert"), "bert"), "bert", tmp_path / "int8")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="found method gptq"):
        load_model(folder)
