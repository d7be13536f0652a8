"""Checkpoints compiled, compared and kept, or not kept."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from deepseek.compiler.saved import load
from deepseek.errors import InputError
from deepseek.formats.compressed_tensors import quantization_config
from deepseek.formats.model import load_model
from deepseek.formats.programs.compiling import compile_checkpoint
from deepseek.formats.programs.config import CompileConfig
from deepseek.nn.int8_linear import Int8Linear


@pytest.mark.parametrize("name", ["bert", "gpt2", "vit"])
def test_a_program_gives_what_the_model_gives(
    name: str, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    source = tiny_folder(name)
    report = compile_checkpoint(CompileConfig(model=source, output=tmp_path / "program"))
    assert report.parity.passed
    assert report.kept
    assert report.launches > report.native_calls > 0
    written = json.loads((tmp_path / "program" / "report.json").read_text())
    assert written == report.document()
    assert written["schema"] == "deepseek.compile/1"

    model = load_model(source).model
    if name == "vit":
        inputs = {"pixel_values": torch.randn(3, *_picture(model))}
    else:
        ids = torch.randint(1, model.config.vocab_size, (3, 6))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if name == "bert":
            inputs["token_type_ids"] = torch.zeros_like(ids)
    with torch.no_grad():
        expected = model(**inputs)
    got = load(tmp_path / "program")(**inputs)
    torch.testing.assert_close(got[0], expected[0], rtol=1e-4, atol=1e-5)


def _picture(model: torch.nn.Module) -> tuple[int, int, int]:
    config = model.config
    return config.num_channels, config.image_size, config.image_size  # type: ignore[union-attr, return-value]


def test_a_model_in_int8_is_compared_as_such(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    model = copy.deepcopy(tiny("bert"))
    for path, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and path != "classifier":
            model.set_submodule(path, Int8Linear.from_linear(module))
    source, config = tmp_path / "int8", json.loads(model.config.to_json_string())
    config["architectures"] = [type(model).__name__]
    config["quantization_config"] = quantization_config(model, {}, ("classifier",))
    source.mkdir()
    save_file(model.state_dict(), source / "model.safetensors")
    (source / "config.json").write_text(json.dumps(config))

    report = compile_checkpoint(CompileConfig(model=source, output=tmp_path / "program"))
    assert report.kept
    assert sum("u8s8" in name or "s16s8" in name for name in report.kernels) > 0
    assert any("INT8" in note for note in report.notes)
    strict = CompileConfig(model=source, output=tmp_path / "strict", max_error=1e-12)
    assert not compile_checkpoint(strict).kept


def test_a_program_that_differs_is_not_kept(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    config = {"model": tiny_folder("bert"), "output": tmp_path / "program", "precision": "int8"}
    report = compile_checkpoint(CompileConfig(**config, max_error=1e-6))
    assert not report.parity.passed
    assert not report.kept
    assert list(tmp_path.iterdir()) == []
    report = compile_checkpoint(CompileConfig(**config, max_error=1e-6, allow_mismatch=True))
    assert not report.parity.passed
    assert (tmp_path / "program" / "manifest.json").exists()


def test_an_output_that_exists_is_refused_at_once(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "mine").touch()
    with pytest.raises(InputError, match="exists already"):
        compile_checkpoint(CompileConfig(model=tiny_folder("bert"), output=tmp_path / "program"))


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        compile_checkpoint(CompileConfig(model=tmp_path / "nowhere", output=tmp_path / "program"))
    assert list(tmp_path.iterdir()) == []
