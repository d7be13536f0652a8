"""A small data set that has every kind of field."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch

from deepseek.data.packed.dataset import PackedDataset
from deepseek.data.packed.field import Field
from deepseek.data.packed.layout import HEADER_BYTES, Header, Section
from deepseek.data.packed.writer import PackedWriter

FIELDS = (
    Field("tokens", "int32", ragged=True),
    Field("label", "int64"),
    Field("image", "uint8", (2, 3)),
    Field("weights", "bfloat16", (4,)),
    Field("points", "float32", (2,), ragged=True),
    Field("flag", "bool"),
    Field("halves", "bfloat16", ragged=True),
)
COUNT = 50


def record(number: int) -> dict[str, Any]:
    return {
        "tokens": torch.arange(number % 7, dtype=torch.int32) + number,
        "label": torch.tensor(number - 10),
        "image": torch.full((2, 3), number, dtype=torch.uint8),
        "weights": torch.full((4,), number / 8).bfloat16(),
        "points": torch.full((number % 3, 2), float(number)),
        "flag": torch.tensor(number % 2 == 1),
        "halves": torch.full((number % 4,), number / 2).bfloat16(),
    }


@pytest.fixture(params=[400, 10**9], ids=["many-shards", "one-shard"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "packed"
    with PackedWriter(path, FIELDS, shard_bytes=request.param, meta={"seen": "here"}) as writer:
        for number in range(COUNT):
            writer.write(record(number))
    return path


@pytest.fixture
def dataset(folder: Path) -> PackedDataset:
    return PackedDataset(folder)


@pytest.fixture
def expected() -> Callable[[int], dict[str, Any]]:
    return record


@pytest.fixture
def numbers_only(tmp_path: Path) -> Path:
    """A data set of one shard: 100 records of one field of four numbers."""
    path = tmp_path / "numbers"
    with PackedWriter(path, [Field("x", "int32", (4,))]) as writer:
        for number in range(100):
            writer.write({"x": np.arange(4, dtype=np.int32) + number})
    return path


def _sparse(path: Path, size: int) -> Path:
    """A shard of about ``size`` bytes of zeros that takes no room on the disk."""
    payload = size // 2**20 * 2**20
    field = Field("x", "int32", (1024,))
    table = crc32(bytes(2**20)).to_bytes(4, "little") * (payload // 2**20)
    section = Section(field, HEADER_BYTES, payload)
    checksums = HEADER_BYTES + payload
    header = Header(
        payload // field.row_bytes, checksums + len(table), (section,), checksums, crc32(table)
    )
    with path.open("wb") as file:
        file.write(header.to_bytes())
        file.seek(checksums)
        file.write(table)
    return path


@pytest.fixture
def sparse() -> Callable[[Path, int], Path]:
    return _sparse
