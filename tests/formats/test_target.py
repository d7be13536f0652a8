from pathlib import Path
from typing import Any

import pytest

from deepseek.errors import InputError
from deepseek.formats.config import ConvertConfig
from deepseek.formats.target import target_of


def _config(dest: str | Path, source: str | Path = "in.pt", **more: Any) -> ConvertConfig:
    return ConvertConfig(source=Path(source), dest=Path(dest), **more)


@pytest.mark.parametrize(
    ("dest", "to", "format_", "is_folder"),
    [
        ("m.safetensors", None, "safetensors", False),
        ("m.SafeTensors", None, "safetensors", False),
        ("m.pt", None, "torch", False),
        ("m.pth", None, "torch", False),
        ("m.bin", None, "torch", False),
        ("m.ckpt", "torch", "torch", False),
        ("m.onnx", None, "onnx", False),
        ("m", None, "hf", True),
        ("m-v1.5", "hf", "hf", True),
        ("m", "safetensors", "safetensors", True),
        ("m-v1.5", "safetensors", "safetensors", True),
    ],
)
def test_format_and_kind(dest: str, to: Any, format_: str, is_folder: bool) -> None:
    target = target_of(_config(dest, to=to))
    assert (target.format, target.is_folder) == (format_, is_folder)


@pytest.mark.parametrize(
    ("dest", "more", "message"),
    [
        ("m-v1.5", {}, r"one of \.safetensors \.pt .* or in nothing, got m-v1\.5"),
        ("m.onnx", {"to": "hf"}, r"for hf to end in nothing \(a folder\), got m\.onnx"),
        ("m", {"to": "onnx"}, r"for onnx to end in \.onnx, got m"),
        ("m.pt", {"to": "safetensors"}, "for safetensors to end in"),
        ("m.pt", {"opset": 18}, "--opset is for onnx, the target is torch"),
        ("m.pt", {"max_error": 0.1}, "--max_error is for onnx, the target is torch"),
        ("m.onnx", {"shard_size": 5}, "--shard_size is for safetensors and hf"),
        ("m.pt", {"tokenizer": Path("t")}, "--tokenizer is for hf"),
        ("m.safetensors", {"shard_size": 5}, r"a folder for shards, got m\.safetensors"),
    ],
)
def test_contradictions_are_refused(dest: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        target_of(_config(dest, **more))


@pytest.mark.parametrize(
    ("source", "dest", "message"),
    [
        ("m", "m", "another place than SOURCE"),
        ("m", "./x/../m", "another place than SOURCE"),
        ("m", "m/out", "lies inside m"),
        ("m", "m/out/deeper.pt", "lies inside m"),
        ("m/w.pt", "m", "lies inside m"),
    ],
)
def test_source_and_dest_stay_apart(source: str, dest: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        target_of(_config(dest, source))


def test_a_link_to_the_source_is_the_source(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "m")
    with pytest.raises(InputError, match="another place than SOURCE"):
        target_of(_config(tmp_path / "link", tmp_path / "m"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"opset": 13}, "--opset 14 to 23, got 13"),
        ({"opset": 24}, "--opset 14 to 23, got 24"),
        ({"shard_size": 0}, "--shard_size above zero"),
        ({"map": ("a",)}, "--map OLD=NEW"),
    ],
)
def test_values_out_of_range_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _config("m", **more)


def test_where_reports_lie() -> None:
    assert target_of(_config("m")).report_of(Path("m")) == Path("m/report.json")
    assert target_of(_config("m.pt")).report_of(Path("a/m.pt")) == Path("a/m.pt.report.json")
