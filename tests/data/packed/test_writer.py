"""Writing a data set: shards, index, and nothing left behind when it fails."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepseek.data.packed.dataset import PackedDataset
from deepseek.data.packed.field import Field
from deepseek.data.packed.mapping import read_header
from deepseek.data.packed.writer import PackedWriter, ShardSeries
from deepseek.errors import InputError

X = Field("x", "int32", (4,))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(dest: Path, records: Iterable[dict[str, Any]]) -> None:
    with PackedWriter(dest, [X]) as writer:
        for record in records:
            writer.write(record)


def test_files_of_a_data_set(folder: Path) -> None:
    index = json.loads((folder / "index.json").read_text())
    shards = [shard["file"] for shard in index["shards"]]
    assert shards == [f"{number:05d}.packed" for number in range(len(shards))]
    assert names(folder) == [*shards, "index.json", "report.json"]
    assert index["schema"] == "deepseek.packed/1"
    assert index["records"] == sum(shard["records"] for shard in index["shards"]) == 50
    report = json.loads((folder / "report.json").read_text())
    assert (report["schema"], report["records"]) == ("deepseek.packed/1", 50)
    assert report["bytes"] == sum((folder / name).stat().st_size for name in shards)


def test_parts_are_aligned(folder: Path) -> None:
    for path in folder.glob("*.packed"):
        header = read_header(path)
        starts = [start for section in header.sections for start, _ in section.spans()]
        assert len(starts) == len(set(starts)) == 10
        assert [start % 64 for start in [*starts, header.checksums]] == [0] * 11


def test_shards_are_about_as_large_as_asked(tmp_path: Path) -> None:
    with PackedWriter(tmp_path / "out", [X], shard_bytes=100) as writer:
        for number in range(20):
            writer.write({"x": [number] * 4})
    assert [shard.records for shard in PackedDataset(tmp_path / "out").index.shards] == [7, 7, 6]


def test_the_same_records_make_the_same_bytes(
    tmp_path: Path, folder: Path, expected: Callable[[int], dict[str, Any]]
) -> None:
    shard = PackedDataset(folder).index.shards[0]
    again = ShardSeries(tmp_path, PackedDataset(folder).fields)
    for number in range(shard.records):
        again.write(expected(number))
    again.finish()
    assert (tmp_path / "00000.packed").read_bytes() == (folder / shard.file).read_bytes()


def test_a_record_longer_than_a_shard(tmp_path: Path) -> None:
    with PackedWriter(tmp_path / "out", [Field("x", "uint8", ragged=True)], shard_bytes=8) as out:
        for length in (3 * 2**20 + 1, 0, 1, 9):
            out.write({"x": [7] * length})
    dataset = PackedDataset(tmp_path / "out")
    assert [len(dataset[number]["x"]) for number in range(4)] == [3 * 2**20 + 1, 0, 1, 9]
    assert [shard.records for shard in dataset.index.shards] == [1, 3]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "expected the fields x, got none"),
        ({"x": [1, 2, 3, 4], "y": 1}, "expected the fields x, got x, y"),
        ({"x": [1, 2, 3]}, "expected x: int32[4], got the shape [3]"),
        ({"x": [1, 2, 3, 2**31]}, "numbers from 1 to 2147483648"),
    ],
)
def test_a_wrong_record_leaves_nothing(
    tmp_path: Path, record: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        write(tmp_path / "out", [{"x": [1, 2, 3, 4]}, record])
    assert message in caught.value.message
    assert names(tmp_path) == []


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def records() -> Iterator[dict[str, Any]]:
        yield {"x": [1, 2, 3, 4]}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", records())
    assert names(tmp_path) == []


def test_no_record_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected at least one record"):
        write(tmp_path / "out", [])
    assert names(tmp_path) == []


def test_what_is_there_is_replaced_only_when_asked(numbers_only: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        write(numbers_only, [{"x": [0] * 4}])
    assert len(PackedDataset(numbers_only)) == 100
    with PackedWriter(numbers_only, [X], overwrite=True) as writer:
        writer.write({"x": [0] * 4})
    assert len(PackedDataset(numbers_only)) == 1
