"""Both formats of torch.save."""

import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from deepseek.errors import InputError
from deepseek.formats.readers.files import read_file

_NEW = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    whole = torch.randn(6, 4)
    return {
        "whole": whole,
        "tied": whole,
        "part": whole[2:4],
        "turned": whole.t(),
        "half": torch.randn(3).to(torch.bfloat16),
        "byte": torch.arange(5, dtype=torch.uint8),
        "flag": torch.tensor([True, False]),
        "complex": torch.randn(2, dtype=torch.complex64),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 4),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }


def _save(value: object, path: Path, *, new: bool) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=new)
    return path


@_NEW
def test_every_tensor_comes_back(tmp_path: Path, new: bool) -> None:
    state = _state()
    checkpoint = read_file(_save(state, tmp_path / "x.pt", new=new))
    assert checkpoint.format == "torch"
    assert list(checkpoint.infos) == list(state)
    for name, value in state.items():
        found = checkpoint.read(name)
        assert (found.shape, found.dtype) == (value.shape, value.dtype)
        assert (checkpoint.infos[name].shape, checkpoint.infos[name].dtype) == (
            tuple(value.shape),
            value.dtype,
        )
        assert torch.equal(found, value)
        assert not found.requires_grad
    assert checkpoint.shared == {"tied": "whole"}


def test_the_new_format_is_mapped_and_the_old_one_is_not(tmp_path: Path) -> None:
    values = torch.arange(1000)
    for new in (True, False):
        path = _save({"v": values}, tmp_path / f"{new}.pt", new=new)
        checkpoint = read_file(path)
        first, second = checkpoint.read("v"), checkpoint.read("v")
        assert (first.data_ptr() != second.data_ptr()) == new


@_NEW
def test_the_suffix_does_not_matter(tmp_path: Path, new: bool) -> None:
    for suffix in (".bin", ".pth", ".ckpt", ".safetensors", ""):
        path = _save({"w": torch.ones(2)}, tmp_path / f"x{suffix}", new=new)
        assert torch.equal(read_file(path).read("w"), torch.ones(2))


@_NEW
def test_cut_off_anywhere(tmp_path: Path, new: bool) -> None:
    whole = _save(_state(), tmp_path / "x.pt", new=new).read_bytes()
    path = tmp_path / "cut.pt"
    for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=r"cut\.pt"):
            read_file(path)


@_NEW
def test_tensors_that_are_not_plain(tmp_path: Path, new: bool) -> None:
    path = _save({"s": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt", new=new)
    with pytest.raises(InputError, match=r"not read|cannot be read|not a state dict"):
        read_file(path)
    with warnings.catch_warnings(action="ignore"):
        quantized = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
        path = _save({"q": quantized}, tmp_path / "quantized.pt", new=new)
        with pytest.raises(InputError, match=r"not read|not a state dict"):
            read_file(path)


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _pack(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    members = _members(_save({"w": torch.ones(2)}, tmp_path / "x.pt", new=True))
    members["x/data/0"] = bytes(100_000_000)
    bomb = _pack(tmp_path / "bomb.pt", members, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1_000_000
    with pytest.raises(InputError, match="is compressed; torch never does that"):
        read_file(bomb)


def test_storage_smaller_than_its_tensor(tmp_path: Path) -> None:
    members = _members(_save({"w": torch.ones(100)}, tmp_path / "x.pt", new=True))
    members["x/data/0"] = members["x/data/0"][:100]
    with pytest.raises(InputError, match="w reaches beyond its storage"):
        read_file(_pack(tmp_path / "short.pt", members))


def test_the_other_byte_order(tmp_path: Path) -> None:
    members = _members(_save({"w": torch.ones(2)}, tmp_path / "x.pt", new=True))
    members["x/byteorder"] = b"big"
    with pytest.raises(InputError, match="the other byte order"):
        read_file(_pack(tmp_path / "big.pt", members))


def test_archives_of_others(tmp_path: Path) -> None:
    other = _pack(tmp_path / "other.pt", {"word/document.xml": b"<x/>"})
    with pytest.raises(InputError, match=r"a zip archive, but not one that torch\.save writes"):
        read_file(other)
    module = torch.nn.Linear(2, 2)
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(module).save(str(tmp_path / "script.pt"))
    with pytest.raises(InputError, match="a TorchScript program") as caught:
        read_file(tmp_path / "script.pt")
    assert caught.value.hint is not None
