"""Records, slices and batches of a packed data set."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from deepseek.data.packed.dataset import PackedDataset
from deepseek.data.packed.ragged import Ragged
from deepseek.errors import InputError

Expected = Callable[[int], dict[str, Any]]


def parts(values: Tensor | Ragged) -> list[Tensor]:
    return [values[place] for place in range(len(values))]


def check(batch: dict[str, Any], numbers: list[int], expected: Expected) -> None:
    wanted = [expected(number) for number in numbers]
    for name in wanted[0]:
        found = parts(batch[name])
        assert len(found) == len(numbers)
        for one, other in zip(found, wanted, strict=True):
            assert one.dtype == other[name].dtype
            assert torch.equal(one, other[name])


def is_mapped(tensor: Tensor, dataset: PackedDataset) -> bool:
    """Whether the tensor's memory is that of a mapped shard."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, name = line.split(maxsplit=5)
        low, high = (int(end, 16) for end in span.split("-"))
        if low <= tensor.data_ptr() < high:
            return name.startswith(str(dataset.path))
    return False


def test_every_record(dataset: PackedDataset, expected: Expected) -> None:
    assert len(dataset) == 50
    for number in range(-50, 50):
        found, wanted = dataset[number], expected(number % 50)
        assert found.keys() == wanted.keys()
        for name, tensor in found.items():
            assert tensor.dtype == wanted[name].dtype
            assert torch.equal(tensor, wanted[name]), name


def test_a_record_is_not_copied(dataset: PackedDataset) -> None:
    assert all(is_mapped(t, dataset) for t in dataset[27].values() if t.numel())


@pytest.mark.parametrize("number", [50, -51, 10**20])
def test_no_such_record(dataset: PackedDataset, number: int) -> None:
    with pytest.raises(IndexError, match="expected a record from 0 to 49"):
        dataset[number]


@pytest.mark.parametrize(
    "index", [np.int64(7), torch.tensor(7), np.array(7)], ids=["numpy", "tensor", "array"]
)
def test_numbers_of_other_libraries(dataset: PackedDataset, index: Any) -> None:
    assert dataset[index]["label"] == -3


@pytest.mark.parametrize(
    "part",
    [slice(0, 50), slice(3, 5), slice(-4, None), slice(None, None, 7), slice(40, 2, -3),
     slice(13, 14), slice(30, 10**9)],
    ids=str,
)  # fmt: skip
def test_slices(dataset: PackedDataset, expected: Expected, part: slice) -> None:
    check(dataset[part], list(range(50))[part], expected)


def test_nothing_asked(dataset: PackedDataset) -> None:
    for batch in (dataset[5:5], dataset[9:3], dataset[60:70], dataset.batch([])):
        assert all(len(values) == 0 for values in batch.values())
        assert batch["image"].shape == (0, 2, 3)


@pytest.mark.parametrize(
    "numbers",
    [[5], [3, 40, 3, 0, 49], list(range(50)), list(range(49, -1, -1)), [-1, -50, 2], [7, 8, 9]],
    ids=str,
)
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_batches(
    dataset: PackedDataset, expected: Expected, numbers: list[int], kind: Callable[[Any], Any]
) -> None:
    check(dataset.batch(kind(numbers)), [n % 50 for n in numbers], expected)
    check(dataset[kind(numbers)], [n % 50 for n in numbers], expected)


def test_wrong_batches(dataset: PackedDataset) -> None:
    for numbers in ([0, 50], [-51], [3, 10**12], [49, 50]):
        with pytest.raises(IndexError, match="expected a record from 0 to 49"):
            dataset.batch(numbers)
    for what in ([[1, 2]], [True, False], [1.0], [10**30]):
        with pytest.raises(InputError, match=r"expected a list of record numbers, got "):
            dataset.batch(np.array(what))


def test_batches_of_fixed_fields_in_one_shard(numbers_only: Path) -> None:
    dataset = PackedDataset(numbers_only)
    for numbers in ([99, 0, 50], [-1, -100, 3], [-3, -2, -1]):
        x = dataset[numbers]["x"]
        assert isinstance(x, Tensor)
        assert x[:, 0].tolist() == [number % 100 for number in numbers]
    for numbers in ([0, 100], [-101, 3], [98, 99, 100]):
        with pytest.raises(IndexError, match="expected a record from 0 to 99"):
            dataset.batch(numbers)


def test_records_in_a_row_are_one_view(numbers_only: Path) -> None:
    dataset = PackedDataset(numbers_only)
    first = dataset[0]["x"].data_ptr()
    for batch in (dataset[10:20], dataset[list(range(10, 20))], dataset[torch.arange(10, 20)]):
        assert isinstance(batch["x"], Tensor)
        assert batch["x"].data_ptr() == first + 10 * 16
        assert batch["x"].shape == (10, 4)
    assert not is_mapped(dataset[[10, 12]]["x"], dataset)


def test_items_of_ragged_records_in_a_row_are_one_view(dataset: PackedDataset) -> None:
    tokens = dataset[2:4]["tokens"]
    assert isinstance(tokens, Ragged)
    assert is_mapped(tokens.values, dataset)
    assert tokens.offsets.tolist() == [0, 2, 5]


def test_column(dataset: PackedDataset) -> None:
    labels = torch.cat([part for part in dataset.column("label") if isinstance(part, Tensor)])
    assert labels.tolist() == list(range(-10, 40))
    assert sum(len(part) for part in dataset.column("tokens")) == 50
    with pytest.raises(InputError, match=r"expected a field of tokens, label, .* got 'text'"):
        next(dataset.column("text"))


def test_what_a_data_set_says(dataset: PackedDataset) -> None:
    assert dataset.meta == {"seen": "here"}
    assert [field.name for field in dataset.fields][:3] == ["tokens", "label", "image"]
    assert "50 records of tokens: int32[*], label: int64, image: uint8[2, 3]" in repr(dataset)


def test_writing_to_a_record_never_reaches_the_file(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    dataset = PackedDataset(folder)
    for number in range(50):
        for tensor in dataset[number].values():
            tensor.fill_(1)
    assert dataset[0]["label"] == 1
    assert PackedDataset(folder)[0]["label"] == -10
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_tensors_outlive_the_data_set(folder: Path, expected: Expected) -> None:
    found = PackedDataset(folder)[33]
    assert torch.equal(found["tokens"], expected(33)["tokens"])


def test_a_file_that_may_only_be_read(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o444)
    tensor = PackedDataset(folder)[0]["label"]
    assert tensor == -10
    tensor += 1


def test_a_data_set_travels_as_its_path(dataset: PackedDataset) -> None:
    blob = pickle.dumps(dataset)
    assert len(blob) < 400
    assert pickle.loads(blob)[3]["label"] == -7


def test_one_shard_is_a_data_set(folder: Path, expected: Expected) -> None:
    dataset = PackedDataset(folder / "00000.packed")
    check(dataset[0:5], list(range(5)), expected)
    assert dataset.meta == {}


@pytest.mark.parametrize("advice", ["random", "sequential", "willneed", "normal"])
def test_advice(folder: Path, advice: Any) -> None:
    dataset = PackedDataset(folder, advice=advice)
    dataset.advise("random")
    assert dataset[20]["label"] == 10


def test_dontneed_lets_go_of_pages_and_of_what_was_written_there(numbers_only: Path) -> None:
    dataset = PackedDataset(numbers_only)
    dataset[0]["x"].fill_(7)
    dataset.advise("dontneed")
    assert dataset[0]["x"].tolist() == [0, 1, 2, 3]


def test_wrong_advice(folder: Path) -> None:
    with pytest.raises(InputError, match=r"expected advice normal, random, .* got 'fast'"):
        PackedDataset(folder).advise("fast")  # type: ignore[arg-type]


def test_records_for_a_data_loader(dataset: PackedDataset, expected: Expected) -> None:
    found = dataset.__getitems__([4, 11])
    assert torch.equal(found[1]["tokens"], expected(11)["tokens"])
    loader = torch.utils.data.DataLoader(
        torch.utils.data.Subset(dataset, range(10, 20)), batch_size=5,
        collate_fn=lambda records: torch.stack([record["image"] for record in records]),
    )  # fmt: skip
    assert [batch[:, 0, 0].tolist() for batch in loader] == [
        [10, 11, 12, 13, 14],
        [15, 16, 17, 18, 19],
    ]


def test_default_collation(numbers_only: Path) -> None:
    (batch,) = torch.utils.data.DataLoader(PackedDataset(numbers_only), batch_size=100)
    assert torch.equal(batch["x"], torch.arange(100).unsqueeze(1) + torch.arange(4))


def test_a_file_larger_than_memory_opens_and_stays_out_of_it(
    tmp_path: Path, numbers_only: Path, sparse: Callable[[Path, int], Path]
) -> None:
    size = 4 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    path = sparse(tmp_path / "large.packed", size)
    process = psutil.Process()
    assert PackedDataset(numbers_only)[1]["x"].sum() == 10  # what torch loads at first is loaded
    before = process.memory_info().rss
    dataset = PackedDataset(path)
    assert len(dataset) == size // 2**20 * 256
    assert dataset[len(dataset) - 1]["x"].sum() == 0
    assert process.memory_info().rss - before < 2**20
