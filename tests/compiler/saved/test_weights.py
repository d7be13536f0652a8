"""Files of weights: what was written is read, and nothing else is."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deepseek.compiler.saved import weights
from deepseek.compiler.saved.weights import read_weights, write_weights
from deepseek.errors import InputError

TENSORS = {
    "whole": torch.arange(70_000, dtype=torch.float32).view(70, 1000),
    "half": torch.arange(9).bfloat16(),
    "one": torch.tensor(7, dtype=torch.int64),
    "none": torch.empty(0, 3),
    "flags": torch.tensor([True, False, True]),
    "panels": torch.arange(256, dtype=torch.uint8).view(2, 128),
}


@pytest.fixture(params=[1 << 10, 1 << 24], ids=["pieces", "one piece"])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(weights, "_PIECE", request.param)
    return tmp_path / "weights.safetensors"


def test_tensors_come_back(file: Path) -> None:
    written = write_weights(TENSORS, file)
    found = read_weights(file, written)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    for name, tensor in load_file(file).items():
        assert torch.equal(tensor, TENSORS[name]), name


def test_what_is_read_can_be_written_without_changing_the_file(file: Path) -> None:
    written = write_weights(TENSORS, file)
    found = read_weights(file, written)
    found["whole"].zero_()
    assert torch.equal(read_weights(file, written)["whole"], TENSORS["whole"])


def test_weights_begin_where_kernels_can_load_registers(file: Path) -> None:
    found = read_weights(file, write_weights(TENSORS, file))
    assert [found[name].data_ptr() % 64 for name in ("whole", "panels")] == [0, 0]


def test_a_type_that_files_cannot_hold(file: Path) -> None:
    with pytest.raises(InputError, match="complex128"):
        write_weights({"x": torch.zeros(3, dtype=torch.complex128)}, file)


@pytest.mark.parametrize("place", [0, 9, 5000, -1])
def test_a_changed_byte_is_seen(file: Path, place: int) -> None:
    written = write_weights(TENSORS, file)
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="found it changed"):
        read_weights(file, written)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"0"])
def test_another_length_is_seen(file: Path, change) -> None:
    written = write_weights(TENSORS, file)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InputError, match="found it changed"):
        read_weights(file, written)


def test_a_file_that_cannot_be_read(file: Path) -> None:
    written = write_weights(TENSORS, file)
    file.write_bytes(b"")
    with pytest.raises(InputError, match="found it changed"):
        read_weights(file, written)
    file.unlink()
    with pytest.raises(InputError, match="expected a readable"):
        read_weights(file, written)
