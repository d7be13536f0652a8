"""Files that were cut, changed or made up: each is read or refused, and damage is found."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek.data.packed.dataset import PackedDataset
from deepseek.data.packed.layout import HEADER_BYTES
from deepseek.data.packed.mapping import read_header
from deepseek.data.packed.verify import verify_shard
from deepseek.errors import InputError

FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read_all(path: Path) -> None:
    dataset = PackedDataset(path)
    for number in range(len(dataset)):
        for tensor in dataset[number].values():
            torch.isfinite(tensor).all()
    dataset[0 : len(dataset)]
    dataset.batch(list(range(len(dataset)))[::-1])


def refusal(read: Callable[[Path], object], path: Path) -> str | None:
    """Why a file is refused; anything but an ``InputError`` fails the test."""
    try:
        read(path)
    except InputError as error:
        return error.message
    return None


def shard_of(folder: Path) -> Path:
    return folder / "00000.packed"


def test_a_sound_shard_has_no_damage(folder: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    for path in sorted(folder.glob("*.packed")):
        assert verify_shard(path, lambda *told: seen.append(told)) == []
    assert seen[0] == ("verifying 00000.packed", 1, 1)


def test_every_block_is_checked(tmp_path: Path, sparse: Any) -> None:
    path = sparse(tmp_path / "x.packed", 5 * 2**20)
    assert verify_shard(path) == []
    with path.open("r+b") as file:
        for place in (HEADER_BYTES + 2**20 - 1, HEADER_BYTES + 4 * 2**20):
            file.seek(place)
            file.write(b"\1")
    found = [(damage.start, damage.bytes) for damage in verify_shard(path)]
    assert found == [(HEADER_BYTES, 2**20), (HEADER_BYTES + 4 * 2**20, 2**20)]
    assert "checksum differs in the 1048576 bytes from 4096 on" in str(verify_shard(path)[0])


@FUZZ
@given(data=st.data())
def test_no_changed_byte_goes_unnoticed(folder: Path, data: st.DataObject) -> None:
    path = shard_of(folder)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[at] ^= data.draw(st.integers(1, 255))
    copy = folder / "copy.packed"
    copy.write_bytes(changed)
    try:
        assert verify_shard(copy) != []
    except InputError:
        assert at < HEADER_BYTES


@FUZZ
@given(data=st.data())
def test_changed_files_are_read_or_refused(folder: Path, data: st.DataObject) -> None:
    changed = bytearray(shard_of(folder).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # the first 700 bytes are the header of seven fields; then come numbers and offsets
        at = data.draw(st.integers(0, 700) | st.integers(HEADER_BYTES, len(changed) - 1))
        part = data.draw(st.binary(min_size=1, max_size=8))
        changed[at : at + len(part)] = part
    changed[12:16] = bytes(4)
    changed[12:16] = crc32(changed[:HEADER_BYTES]).to_bytes(4, "little")
    copy = folder / "copy.packed"
    copy.write_bytes(changed)
    for read in (read_all, verify_shard):
        message = refusal(read, copy)
        assert message is None or str(copy) in message


@FUZZ
@given(length=st.integers(0, 10**4))
def test_cut_files_are_refused(folder: Path, length: int) -> None:
    path = shard_of(folder)
    content = path.read_bytes()
    copy = folder / "copy.packed"
    copy.write_bytes(content[: min(length, len(content) - 1)])
    with pytest.raises(InputError, match=r"expected .* found"):
        PackedDataset(copy)


def offsets_changed(folder: Path, value: int) -> Path:
    path = shard_of(folder)
    (section,) = (part for part in read_header(path).sections if part.field.name == "tokens")
    with path.open("r+b") as file:
        file.seek(section.offsets + 8)
        file.write(value.to_bytes(8, "little", signed=True))
    return path


@pytest.mark.parametrize("value", [-1, 2**40, 2**62, -(2**62)])
def test_offsets_out_of_the_file(folder: Path, value: int) -> None:
    offsets_changed(folder, value)
    dataset = PackedDataset(folder)
    for ask in (lambda: dataset[1], lambda: dataset[1:3], lambda: dataset[[1, 4]]):
        with pytest.raises(InputError, match="expected field 'tokens' of record"):
            ask()


def test_offsets_that_another_writer_got_wrong(folder: Path) -> None:
    path = offsets_changed(folder, 2**40)
    header = read_header(path)
    content = bytearray(path.read_bytes())
    payload = content[HEADER_BYTES : header.checksums]
    content[header.checksums :] = crc32(payload).to_bytes(4, "little")
    content[56:60] = crc32(content[header.checksums :]).to_bytes(4, "little")
    content[12:16] = bytes(4)
    content[12:16] = crc32(content[:HEADER_BYTES]).to_bytes(4, "little")
    path.write_bytes(content)
    assert "offsets of 'tokens' go backwards" in str(verify_shard(path)[0])


def test_a_damaged_table_of_checksums(folder: Path) -> None:
    path = shard_of(folder)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (damage,) = verify_shard(path)
    assert "the table of checksums differs in the 4 bytes" in str(damage)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", "deepseek.packed/2", "expected the schema deepseek.packed/1"),
        ("schema", None, "expected 'schema' to be a str, found None"),
        ("records", 49, "expected 49 records, found 50"),
        ("records", True, "expected 'records' to be a int"),
        ("fields", [], "expected 1 to 31 fields, got 0"),
        ("fields", [{"name": "x"}], "expected 'shape' to be a list"),
        ("fields", [{"name": "x", "dtype": "int3", "shape": [], "ragged": False}], "int3"),
        ("fields", [{"name": "x", "dtype": "int8", "shape": ["a"], "ragged": False}], "sizes"),
        ("shards", [], "expected at least one shard, found none"),
        ("shards", ["00000.packed"], "expected 'file' to be a str"),
        ("shards", [{"file": "../x.packed", "records": 1, "bytes": 1}], "beside it"),
        ("shards", [{"file": "x.txt", "records": 1, "bytes": 1}], "beside it"),
        (
            "shards",
            [{"file": "x.packed", "records": 0, "bytes": 1}],
            "expected records in x.packed",
        ),
        ("shards", [{"file": "x.packed", "records": 50, "bytes": 1}], "cannot find it"),
        ("meta", [], "expected 'meta' to be a dict"),
    ],
)
def test_an_index_that_makes_no_sense(folder: Path, key: str, value: Any, message: str) -> None:
    path = folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(InputError) as caught:
        PackedDataset(folder)
    assert message in caught.value.message


@FUZZ
@given(text=st.text(max_size=60) | st.from_regex(r'\{"schema": "deepseek.packed/1".{0,40}\}'))
def test_noise_for_an_index(folder: Path, text: str) -> None:
    (folder / "index.json").write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(InputError):
        PackedDataset(folder)


def test_an_index_of_other_bytes(folder: Path) -> None:
    (folder / "index.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="expected JSON"):
        PackedDataset(folder)


def test_a_missing_or_cut_shard_is_found_at_once(folder: Path) -> None:
    last = max(folder.glob("*.packed"))
    content = last.read_bytes()
    last.write_bytes(content[:-1])
    with pytest.raises(InputError, match=rf"expected {len(content)} bytes as index.json states"):
        PackedDataset(folder)
    last.unlink()
    with pytest.raises(InputError, match="cannot find it: No such file"):
        PackedDataset(folder)


def test_a_shard_of_another_data_set(folder: Path, numbers_only: Path) -> None:
    shutil.copy(numbers_only / "00000.packed", shard_of(folder))
    path = folder / "index.json"
    index = json.loads(path.read_text())
    index["shards"][0]["bytes"] = shard_of(folder).stat().st_size
    path.write_text(json.dumps(index))
    with pytest.raises(InputError, match="the shard belongs to another data set"):
        PackedDataset(folder)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing at"):
        PackedDataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="expected a packed data set at"):
        PackedDataset(tmp_path)
    (tmp_path / "text.packed").write_text("no such thing")
    with pytest.raises(InputError, match="found other content"):
        PackedDataset(tmp_path / "text.packed")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="cannot open it"):
        PackedDataset(tmp_path / "pipe")
