"""Folders and shards."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepseek.errors import InputError
from deepseek.formats.open import open_checkpoint
from deepseek.formats.readers.folder import read_folder

_STATE = {"a": torch.ones(2), "b": torch.zeros(3), "c": torch.arange(4)}
_SHARDS = {"m-1.safetensors": ("a", "b"), "m-2.safetensors": ("c",)}


def _shards(folder: Path, *, index: object = None, torch_files: bool = False) -> Path:
    """A checkpoint in two shards; ``index`` replaces the one that fits."""
    names = {name: file for file, names in _SHARDS.items() for name in names}
    for file, held in _SHARDS.items():
        state = {name: _STATE[name] for name in held}
        if torch_files:
            torch.save({f"module.{n}": v for n, v in state.items()}, folder / file)
        else:
            save_file(state, folder / file)
    stem = "pytorch_model.bin" if torch_files else "model.safetensors"
    prefix = "module." if torch_files else ""
    usual = {"weight_map": {f"{prefix}{name}": file for name, file in names.items()}}
    path = folder / f"{stem}.index.json"
    path.write_text(index if isinstance(index, str) else json.dumps(index or usual))
    return path


@pytest.mark.parametrize("torch_files", [False, True])
def test_shards_are_one_checkpoint(tmp_path: Path, torch_files: bool) -> None:
    index = _shards(tmp_path, torch_files=torch_files)
    for source, kind in ((tmp_path, "hf"), (index, None)):
        checkpoint = open_checkpoint(source)
        assert kind is None or checkpoint.format == kind
        assert list(checkpoint.infos) == ["a", "b", "c"]
        assert [path.name for path in checkpoint.files] == list(_SHARDS)
        for name, value in _STATE.items():
            assert torch.equal(checkpoint.read(name), value)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "gone.safetensors"}}, r"'gone\.safetensors', which does not exist"),
        ({"weight_map": {"a": "../m-1.safetensors"}}, "lies outside its folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, "lies outside its folder"),
        ({"weight_map": {"x": "m-1.safetensors"}}, "names 1 tensors that their shards do not hold"),
        ({"weight_map": {"a": 3}}, r"expected the name of a file|does not exist"),
        ({"weight_map": {}}, "expected a weight_map"),
        ({"weight_map": ["a"]}, "expected a weight_map"),
        ({}, "expected a weight_map"),
        ("[1]", "expected a JSON object, found list"),
        ("{", "expected JSON"),
        ("\0\xff", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
    ],
)
def test_an_index_that_does_not_fit(tmp_path: Path, index: object, message: str) -> None:
    _shards(tmp_path, index=index)
    if index == {}:
        (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(InputError, match=message):
        open_checkpoint(tmp_path)


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    _shards(tmp_path)
    save_file({"c": torch.ones(1), "a": torch.ones(2)}, tmp_path / "m-2.safetensors")
    with pytest.raises(InputError, match="a lies in more than one shard"):
        open_checkpoint(tmp_path)


def test_a_shard_that_is_a_link_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    _shards(folder)
    (folder / "m-2.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (folder / "m-2.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(InputError, match="a link that leads outside its folder"):
        open_checkpoint(folder)


def test_usual_names_come_first_and_training_leftovers_do_not_count(tmp_path: Path) -> None:
    torch.save({"other": torch.ones(1)}, tmp_path / "other.bin")
    torch.save({"o": torch.ones(1)}, tmp_path / "optimizer.pt")
    torch.save({"t": torch.ones(1)}, tmp_path / "training_args.bin")
    assert list(read_folder(tmp_path).infos) == ["other"]
    torch.save({"torch": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    assert list(read_folder(tmp_path).infos) == ["torch"]
    save_file({"safe": torch.ones(1)}, tmp_path / "model.safetensors")
    assert list(read_folder(tmp_path).infos) == ["safe"]


def test_folders_without_one_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a checkpoint, found none"):
        open_checkpoint(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="an adapter"):
        open_checkpoint(tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    (tmp_path / "checkpoint-500").mkdir()
    save_file(_STATE, tmp_path / "checkpoint-500" / "model.safetensors")
    with pytest.raises(InputError) as caught:
        open_checkpoint(tmp_path)
    assert caught.value.hint == f"there is one in {tmp_path / 'checkpoint-500'}"
    save_file(_STATE, tmp_path / "one.safetensors")
    save_file(_STATE, tmp_path / "two.safetensors")
    with pytest.raises(InputError, match=r"found 2: one\.safetensors, two\.safetensors"):
        open_checkpoint(tmp_path)
