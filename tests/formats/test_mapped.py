import os
from pathlib import Path

import pytest
import torch

from deepseek.errors import InputError
from deepseek.formats.mapped import map_tensor, row_major_strides

_MEGABYTE = 1 << 20


def _resident() -> int:
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8])
@pytest.mark.parametrize("skip", [0, 8, 4096, 5000])
def test_is_what_the_file_holds(tmp_path: Path, dtype: torch.dtype, skip: int) -> None:
    values = torch.arange(60).to(dtype).reshape(3, 4, 5)
    path = tmp_path / "values"
    path.write_bytes(bytes(skip) + values.view(torch.uint8).numpy().tobytes())
    found = map_tensor(path, offset=skip, dtype=dtype, shape=(3, 4, 5))
    assert found.dtype == dtype
    assert torch.equal(found, values)


def test_takes_strides_and_odd_places(tmp_path: Path) -> None:
    values = torch.arange(12, dtype=torch.float32)
    path = tmp_path / "values"
    path.write_bytes(b"\1\2\3" + values.numpy().tobytes())
    found = map_tensor(path, offset=3, dtype=torch.float32, shape=(4, 3), strides=(1, 4))
    assert torch.equal(found, values.reshape(3, 4).t())
    assert map_tensor(path, offset=3, dtype=torch.float32, shape=()).item() == 0
    assert map_tensor(path, offset=0, dtype=torch.int8, shape=(2, 0)).shape == (2, 0)


def test_writing_changes_neither_the_file_nor_another_tensor(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(bytes(64))
    first = map_tensor(path, offset=0, dtype=torch.int8, shape=(64,))
    first.fill_(7)
    assert map_tensor(path, offset=0, dtype=torch.int8, shape=(64,)).sum() == 0
    assert path.read_bytes() == bytes(64)


@pytest.mark.parametrize(("offset", "count"), [(0, 17), (16, 1), (-1, 1), (1 << 62, 1)])
def test_refuses_what_lies_outside_the_file(tmp_path: Path, offset: int, count: int) -> None:
    path = tmp_path / "short"
    path.write_bytes(bytes(16))
    with pytest.raises(InputError, match="does not fit a file of 16 bytes"):
        map_tensor(path, offset=offset, dtype=torch.uint8, shape=(count,))


def test_a_walk_keeps_one_tensor_in_memory_and_no_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(80 * _MEGABYTE)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    before, most = _resident(), 0
    for start in range(0, 80 * _MEGABYTE, 4 * _MEGABYTE):
        tensor = map_tensor(path, offset=start, dtype=torch.int64, shape=(4 * _MEGABYTE // 8,))
        assert tensor.sum() == 0
        most = max(most, _resident() - before)
    assert most < 16 * _MEGABYTE
    maps = [map_tensor(path, offset=n, dtype=torch.uint8, shape=(1,)) for n in range(2000)]
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert len(maps) == 2000


def test_strides_of_a_contiguous_tensor() -> None:
    for shape in ((), (5,), (2, 3, 4), (2, 0, 4), (1, 1)):
        assert row_major_strides(shape) == torch.empty(shape).stride()
