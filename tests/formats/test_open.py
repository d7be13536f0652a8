import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepseek.errors import InputError
from deepseek.formats.open import open_checkpoint

_CONFIG = {"model_type": "bert", "hidden_size": 8}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(2)}, path)
    return path


def test_the_configuration_beside_the_weights(file: Path) -> None:
    assert open_checkpoint(file).config is None
    beside = file.parent / "config.json"
    beside.write_text(json.dumps({"framework": "other"}))
    assert open_checkpoint(file).config is None
    beside.write_text(json.dumps(_CONFIG))
    assert open_checkpoint(file).config == _CONFIG
    assert open_checkpoint(file.parent).config == _CONFIG


def test_a_configuration_that_is_given_wins(file: Path, tmp_path: Path) -> None:
    (file.parent / "config.json").write_text("not JSON")
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    for config in (folder, folder / "config.json"):
        assert open_checkpoint(file, config=config).config == _CONFIG
        assert open_checkpoint(file.parent, config=config).config == _CONFIG


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not JSON", "expected JSON"),
        ("[]", "expected a JSON object, found list"),
        ("{}", "found no model_type"),
        ('{"model_type": 3}', "found no model_type"),
        ("\ud800", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
    ],
)
def test_configurations_that_are_none(file: Path, tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "config.json"
    config.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=message):
        open_checkpoint(file.parent)
    with pytest.raises(InputError, match=message):
        open_checkpoint(file, config=config)
    with pytest.raises(InputError, match="found nothing at"):
        open_checkpoint(file, config=tmp_path / "gone.json")


def test_prefixes_of_wrappers(tmp_path: Path) -> None:
    state = {"module.model.a": torch.ones(1), "module.model.b": torch.zeros(1)}
    torch.save(state, tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    assert list(checkpoint.infos) == ["a", "b"]
    assert checkpoint.read("a") == 1
    assert checkpoint.notes == ("module.model. was taken off every name",)
    save_file(state, tmp_path / "x.safetensors")
    assert list(open_checkpoint(tmp_path / "x.safetensors").infos) == ["model.a", "model.b"]


def test_a_file_without_tensors(tmp_path: Path) -> None:
    save_file({}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="expected tensors, found none"):
        open_checkpoint(tmp_path / "x.safetensors")
