import errno
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Self

import pytest
import torch

from deepseek.formats.checkpoint import TensorInfo
from deepseek.formats.writers.torch_file import write_torch

_TENSORS = {
    "scalar": torch.tensor(3),
    "empty": torch.zeros(0, 3),
    "bool": torch.tensor([True, False]),
    "brain": torch.randn(4).bfloat16(),
    "complex": torch.randn(2, 3, dtype=torch.complex64),
    "eight": torch.randn(4).to(torch.float8_e4m3fn),
    "short": torch.arange(5).to(torch.uint16),
    "turned": torch.randn(3, 4).t(),
    "slice": torch.randn(10)[3:5],
}


def _infos(tensors: dict[str, torch.Tensor]) -> dict[str, TensorInfo]:
    return {n: TensorInfo(shape=tuple(t.shape), dtype=t.dtype) for n, t in tensors.items()}


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_every_type(tmp_path: Path, mmap: bool) -> None:
    path = tmp_path / "a.pt"
    write_torch(path, _infos(_TENSORS), {}, _TENSORS.__getitem__)
    found = torch.load(path, weights_only=True, mmap=mmap)
    assert list(found) == list(_TENSORS)
    for name, tensor in _TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        raw, expected = found[name].reshape(-1), tensor.contiguous().reshape(-1)
        assert torch.equal(raw.view(torch.uint8), expected.view(torch.uint8)), name


def test_shared_names_are_one_storage(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(4), "b": torch.zeros(0), "c": torch.randn(4)}
    infos = _infos(tensors) | {"d": TensorInfo(shape=(4,), dtype=torch.float32)}
    write_torch(tmp_path / "a.pt", infos, {"d": "a"}, tensors.__getitem__)
    found = torch.load(tmp_path / "a.pt", weights_only=True)
    assert found["a"].data_ptr() == found["d"].data_ptr() != found["c"].data_ptr()


def test_the_archive_is_sound_and_aligned(tmp_path: Path) -> None:
    path = tmp_path / "ä.pt"
    write_torch(path, _infos(_TENSORS), {}, _TENSORS.__getitem__)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
    for tensor in torch.load(path, weights_only=True, map_location="meta").values():
        offset = tensor.untyped_storage()._checkpoint_offset
        assert offset % 64 == 0


def test_a_plain_program_with_torch_alone_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    write_torch(path, _infos(_TENSORS), {}, _TENSORS.__getitem__)
    program = f"import torch; print(sorted(torch.load({str(path)!r})))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                         check=False)  # fmt: skip
    assert ran.stdout.strip() == str(sorted(_TENSORS))
    assert ran.stderr == ""


class _FullDisk:
    """A file on a disk with room for some bytes."""

    def __init__(self, room: int) -> None:
        self._room = room

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, data: bytes) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)


@pytest.mark.parametrize("room", [0, 100, 2_000, 4_000])
def test_the_systems_reason_for_a_failed_write_is_kept(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {"a": torch.randn(1_000)}
    monkeypatch.setattr(Path, "open", lambda path, mode: _FullDisk(room))
    with pytest.raises(OSError, match="No space left") as caught:
        write_torch(tmp_path / "a.pt", _infos(tensors), {}, tensors.__getitem__)
    assert caught.value.errno == errno.ENOSPC
