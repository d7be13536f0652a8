import json
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from deepseek.errors import InputError
from deepseek.formats.casting import pieces
from deepseek.formats.checkpoint import TensorInfo
from deepseek.formats.writers.safetensors_file import write_safetensors

_TENSORS = {
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
    "bool": torch.tensor([True, False, True]),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "double": torch.randn(3, dtype=torch.float64),
    "brain": torch.randn(3).bfloat16(),
    "eight": torch.randn(7).to(torch.float8_e5m2),
    "complex": torch.randn(2, dtype=torch.complex64),
    "turned": torch.randn(3, 4).t(),
    "wörter.重み": torch.randn(2),
}


def _write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    infos = {n: TensorInfo(shape=tuple(t.shape), dtype=t.dtype) for n, t in tensors.items()}
    write_safetensors(path, infos, lambda name: pieces(tensors[name]), metadata)


def test_the_library_reads_every_type(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    _write(path, _TENSORS, {"format": "pt", "note": "grüße"})
    found = safetensors.torch.load_file(path)
    assert set(found) == set(_TENSORS)
    for name, tensor in _TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        raw, expected = found[name].reshape(-1), tensor.contiguous().reshape(-1)
        assert torch.equal(raw.view(torch.uint8), expected.view(torch.uint8)), name
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt", "note": "grüße"}


def test_every_tensor_begins_at_a_multiple_of_its_element(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    _write(path, _TENSORS, {})
    length = int.from_bytes(path.read_bytes()[:8], "little")
    assert length % 8 == 0
    header = json.loads(path.read_bytes()[8 : 8 + length])
    for name, tensor in _TENSORS.items():
        assert header[name]["data_offsets"][0] % tensor.dtype.itemsize == 0
    assert 8 + length + max(entry["data_offsets"][1] for entry in header.values()) == len(
        path.read_bytes()
    )


def test_the_same_bytes_as_the_library_writes(tmp_path: Path) -> None:
    tensors = {"b": torch.randn(3), "a": torch.randn(2, 2)}
    _write(tmp_path / "ours", dict(sorted(tensors.items())), {"format": "pt"})
    safetensors.torch.save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_no_tensors_are_a_file_too(tmp_path: Path) -> None:
    _write(tmp_path / "a.safetensors", {}, {})
    assert safetensors.torch.load_file(tmp_path / "a.safetensors") == {}


def test_a_type_without_a_place_in_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no type for a, a tensor of torch\.complex128"):
        _write(tmp_path / "a", {"a": torch.zeros(1, dtype=torch.complex128)}, {})
