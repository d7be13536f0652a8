import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

import deepseek.formats.source
from deepseek.errors import InputError
from deepseek.formats.hub import fetch
from deepseek.formats.source import locate, named_checkpoint


def test_files_and_folders_are_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pt").write_text("x")
    assert locate(tmp_path) == tmp_path
    assert locate(str(tmp_path / "a.pt")) == tmp_path / "a.pt"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/a.pt") == tmp_path / "a.pt"


def test_a_near_name_is_offered(tmp_path: Path) -> None:
    (tmp_path / "bert.ckpt").write_text("x")
    with pytest.raises(InputError, match="found nothing at") as caught:
        locate(tmp_path / "bert.ckp")
    assert caught.value.hint == f"did you mean {tmp_path / 'bert.ckpt'}?"
    with pytest.raises(InputError) as caught:
        locate(tmp_path / "gone" / "bert.ckpt")
    assert caught.value.hint == f"there is no folder {tmp_path / 'gone'}"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="expected a file or a folder"):
        locate(tmp_path / "pipe")


def test_only_names_like_those_of_the_hub_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        deepseek.formats.source, "fetch", lambda name: asked.append(name) or tmp_path
    )
    (tmp_path / "here").mkdir()
    assert locate("org/model") == tmp_path
    for name in ("here/model", "./org/model", "org/model/part", "model", "../org/model"):
        with pytest.raises(InputError, match="found nothing"):
            locate(name)
    assert asked == ["org/model"]


class _Hub:
    """Stands in for the hub: one model, its files and what was asked of it."""

    def __init__(self, files: list[str], folder: Path) -> None:
        self.files, self.folder = files, folder
        self.patterns: list[str] = []

    def model_info(self, _name: str, *, timeout: float) -> SimpleNamespace:
        assert 0 < timeout <= 20
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in self.files])

    def snapshot(self, _name: str, **options: Any) -> str:
        self.patterns = options.get("allow_patterns", [])
        return str(self.folder)


@pytest.mark.parametrize(
    ("files", "weights"),
    [
        (["model.safetensors", "pytorch_model.bin", "modeling.py"], "*.safetensors"),
        (["pytorch_model.bin", "config.json"], "*.bin"),
    ],
)
def test_only_what_is_read_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], weights: str
) -> None:
    hub = _Hub(files, tmp_path)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot)
    assert fetch("org/model") == tmp_path
    assert hub.patterns == ["*.json", "*.txt", "*.model", weights]


def test_without_a_hub_the_cache_answers_or_nothing_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable() -> None:
        raise OSError("no route to host")

    def cached(_name: str, **options: Any) -> str:
        assert options == {"local_files_only": True}
        return str(tmp_path)

    def absent(_name: str, **_options: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(huggingface_hub, "HfApi", unreachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert fetch("org/model") == tmp_path
    monkeypatch.setattr(huggingface_hub, "snapshot_download", absent)
    with pytest.raises(InputError, match=r"hub gave none \(no route to host\)"):
        fetch("org/model")


def test_what_is_not_there_is_refused_before_the_hub_is_asked(tmp_path: Path) -> None:
    assert named_checkpoint(str(tmp_path)) == tmp_path
    assert named_checkpoint("org/model") == Path("org/model")
    with pytest.raises(InputError, match="found nothing at"):
        named_checkpoint(str(tmp_path / "absent"))
