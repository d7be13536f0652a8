import gzip
import io
import tarfile
from pathlib import Path

import pytest
import torch

from deepseek.errors import InputError
from deepseek.formats.sniff import sniff


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (bytes(4096), "begins with zeros"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git-LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (gzip.compress(b"x" * 100), "compressed with gzip"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"\x93NUMPY\x01\x00" + bytes(100), "a numpy array"),
        (b"PK\x03\x04" + bytes(100), "cannot be read as a zip archive"),
        (b"hello, world", r"of no format that is read \(first bytes: 68 65 6c 6c"),
        (b"\x80", "of no format that is read"),
        (b"\x08", "of no format that is read"),
    ],
)
def test_content_of_others(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        sniff(path)
    assert str(path) in caught.value.message


def test_the_format_of_2016(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("storages")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"abcd"))
    with pytest.raises(InputError, match="torch's format of 2016"):
        sniff(path)


def test_a_pointer_says_how_to_fetch_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError) as caught:
        sniff(path)
    assert caught.value.hint == "fetch the content with: git lfs pull"


def test_formats_are_told_apart(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "zip")
    torch.save({"a": torch.ones(1)}, tmp_path / "old", _use_new_zipfile_serialization=False)
    (tmp_path / "st").write_bytes((2).to_bytes(8, "little") + b"{}")
    (tmp_path / "gguf").write_bytes(b"GGUF\3\0\0\0")
    (tmp_path / "onnx").write_bytes(b"\x08\x0a")
    found = {name: sniff(tmp_path / name) for name in ("zip", "old", "st", "gguf", "onnx")}
    assert found == {
        "zip": "torch-zip",
        "old": "torch-legacy",
        "st": "safetensors",
        "gguf": "gguf",
        "onnx": "onnx",
    }
