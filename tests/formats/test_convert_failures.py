"""What goes wrong in a conversion is found, and nothing is left of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from deepseek.errors import InputError
from deepseek.formats.config import ConvertConfig
from deepseek.formats.convert import convert
from deepseek.formats.writers import safetensors_file
from deepseek.formats.writers.safetensors import SafetensorsWriter

Folder = Callable[[str], Path]
Models = Callable[[str], Any]


def _sabotage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flip one bit of one tensor on its way into the file."""
    write = safetensors_file._write_tensor

    def flip(file: Any, name: str, info: Any, content: Any) -> None:
        pieces = [piece.clone() for piece in content]
        if name == "classifier.weight":
            pieces[0].view(torch.uint8)[5] ^= 1
        write(file, name, info, pieces)

    monkeypatch.setattr(safetensors_file, "_write_tensor", flip)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_flipped_bit_is_found_and_nothing_is_left(
    overwrite: bool, tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "out.safetensors"
    if overwrite:
        dest.write_text("what was there")
    _sabotage(monkeypatch)
    conversion = convert(ConvertConfig(source=tiny_folder("bert"), dest=dest, overwrite=overwrite))
    assert not conversion.passed
    assert not conversion.kept
    assert conversion.parity is not None
    assert conversion.parity.misses == (
        "different from the source, of 41 tensors: classifier.weight",
    )
    assert conversion.document()["target"]["files"] == []
    assert [path.name for path in tmp_path.iterdir()] == ([dest.name] if overwrite else [])
    assert not overwrite or dest.read_text() == "what was there"


def test_a_mismatch_that_is_allowed_is_kept_and_reported(
    tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "out.safetensors"
    _sabotage(monkeypatch)
    conversion = convert(ConvertConfig(source=tiny_folder("bert"), dest=dest, allow_mismatch=True))
    assert not conversion.passed
    assert conversion.kept
    assert dest.exists()
    assert json.loads((tmp_path / f"{dest.name}.report.json").read_text())["passed"] is False


def test_a_lost_tensor_is_found(
    tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(self: SafetensorsWriter, place: Path, progress: Any) -> None:
        state = safetensors.torch.load_file(tiny_folder("bert") / "model.safetensors")
        del state["classifier.bias"]
        safetensors.torch.save_file(state | {"classifier.bais": torch.ones(3)}, place)

    monkeypatch.setattr(SafetensorsWriter, "write", lose)
    conversion = convert(
        ConvertConfig(source=tiny_folder("bert"), dest=tmp_path / "out.safetensors")
    )
    assert conversion.parity is not None
    assert conversion.parity.misses == (
        "missing from the output: classifier.bias",
        "in the output, but not in the source: classifier.bais",
    )
    assert not list(tmp_path.iterdir())


def test_a_folder_that_transformers_cannot_fill_is_refused(
    tiny: Models, tiny_folder: Folder, tmp_path: Path
) -> None:
    state = {k: v for k, v in tiny("bert").state_dict().items() if k != "classifier.weight"}
    torch.save(state, tmp_path / "w.pt")
    shutil.copy(tiny_folder("bert") / "config.json", tmp_path)
    conversion = convert(ConvertConfig(source=tmp_path / "w.pt", dest=tmp_path / "out"))
    assert conversion.parity is not None
    assert conversion.parity.misses == (
        "BertForSequenceClassification finds no tensor for classifier.weight",
    )
    assert not (tmp_path / "out").exists()


def test_an_interruption_leaves_nothing(
    tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(stage: str, done: int, total: int | None) -> None:
        if stage == "writing tensors" and done == 3:
            assert list(tmp_path.rglob("model.safetensors"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(
            ConvertConfig(source=tiny_folder("bert"), dest=tmp_path / "out"), progress=interrupt
        )
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_refused_before_the_source_is_read(tmp_path: Path) -> None:
    (tmp_path / "out.pt").write_text("old")
    with pytest.raises(InputError, match="exists already"):
        convert(ConvertConfig(source=tmp_path / "absent.pt", dest=tmp_path / "out.pt"))


def test_a_folder_needs_a_configuration_that_transformers_knows(
    tiny: Models, tiny_folder: Folder, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_folder("bert"), source)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"architectures": ["MyOwnBert"]}))
    with pytest.raises(InputError, match="no architecture 'MyOwnBert'"):
        convert(ConvertConfig(source=source, dest=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
