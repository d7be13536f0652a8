import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model

from deepseek.errors import InputError
from deepseek.formats.readers.files import read_file


def _write(path: Path, header: object, data: bytes = b"", *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + data)
    return path


def _entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_every_type_comes_back(tmp_path: Path) -> None:
    state = {
        "f": torch.randn(3, 4),
        "bf": torch.randn(2).to(torch.bfloat16),
        "h": torch.randn(2).half(),
        "d": torch.randn(1).double(),
        "i": torch.arange(4),
        "b": torch.tensor([True, False, True]),
        "f8": torch.randn(4).to(torch.float8_e4m3fn),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
    }
    save_file(state, tmp_path / "x.safetensors", metadata={"format": "pt", "trained": "here"})
    checkpoint = read_file(tmp_path / "x.safetensors")
    assert set(checkpoint.infos) == set(state)
    assert checkpoint.metadata == {"format": "pt", "trained": "here"}
    for name, value in state.items():
        found = checkpoint.read(name)
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        assert torch.equal(found.float(), value.float())


def test_a_tied_name_that_was_left_out_is_there(tmp_path: Path) -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    save_model(model, str(tmp_path / "x.safetensors"))
    checkpoint = read_file(tmp_path / "x.safetensors")
    (name,), (holder,) = checkpoint.shared.keys(), checkpoint.shared.values()
    assert {name, holder} == {"a.weight", "b.weight"}
    assert torch.equal(checkpoint.read(name), model["a"].weight)
    assert checkpoint.bytes == 4 * (9 + 3 + 3)


_OK = _entry("F32", [2], 0, 8)


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": _OK}, b"", "cannot be read as a safetensors file"),
        ({"a": _OK}, bytes(4), "cannot be read as a safetensors file"),
        ({"a": _OK}, bytes(9), "cannot be read as a safetensors file"),
        ({"a": _OK, "b": _entry("F32", [2], 4, 12)}, bytes(12), "cannot be read"),
        ({"a": _OK, "b": _OK}, bytes(8), "cannot be read"),
        ({"a": _entry("F32", [2], 8, 16)}, bytes(16), "cannot be read"),
        ({"a": _entry("F32", [3], 0, 8)}, bytes(8), "cannot be read"),
        ({"a": _entry("F32", [2**40, 2**40], 0, 8)}, bytes(8), "cannot be read"),
        ({"a": _entry("F32", [-2], 0, 8)}, bytes(8), "cannot be read"),
        ({"a": _entry("F99", [2], 0, 8)}, bytes(8), "cannot be read"),
        ({"a": {"dtype": "F32"}}, bytes(8), "cannot be read"),
        ([1, 2], b"", "format|cannot be read"),
        (b'{"a": ', b"", "cannot be read"),
        (b"\xff\xfe", b"", "cannot be read"),
        (b'{"a":' * 5000, b"", "cannot be read"),
    ],
)
def test_headers_that_contradict_the_file(
    tmp_path: Path, header: object, data: bytes, message: str
) -> None:
    path = _write(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(InputError, match=message):
        read_file(path)


@pytest.mark.parametrize("length", [2**60, 2**63, 2**64 - 1, 10**6, 0])
def test_absurd_lengths_of_the_header(tmp_path: Path, length: int) -> None:
    path = _write(tmp_path / "bad.safetensors", {"a": _OK}, bytes(8), length=length)
    with pytest.raises(InputError, match=r"header of|cannot be read"):
        read_file(path)


@pytest.mark.parametrize("content", [b"{", b"12345678", b"x" * 100])
def test_other_content_under_the_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a safetensors file|cannot be read"):
        read_file(path)


def test_another_name_for_the_content(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "x.bin")
    assert torch.equal(read_file(tmp_path / "x.bin").read("a"), torch.ones(2))
