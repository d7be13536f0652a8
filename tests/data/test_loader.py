"""Batches in this process and out of workers, and positions in the middle of an epoch."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch.utils.data import DataLoader

from deepseek.data.loader import PackedLoader
from deepseek.data.order.sampler import ShuffledSampler
from deepseek.data.packed.dataset import PackedDataset
from deepseek.data.packed.field import Field
from deepseek.data.packed.writer import PackedWriter

COUNT = 103


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "packed"
    fields = [Field("x", "int32", (4,)), Field("tokens", "int32", ragged=True)]
    with PackedWriter(path, fields, shard_bytes=600) as writer:
        for number in range(COUNT):
            writer.write({"x": [number] * 4, "tokens": [number] * (number % 5)})
    return path


def loader_of(folder: Path, *, batch_size: int = 10, **options: Any) -> PackedLoader:
    dataset = PackedDataset(folder)
    return PackedLoader(dataset, ShuffledSampler(dataset, batch_size=batch_size), **options)


def records_of(batch: dict[str, Any]) -> list[int]:
    numbers: list[int] = batch["x"][:, 0].tolist()
    assert torch.equal(batch["tokens"].lengths, torch.tensor(numbers) % 5)
    return numbers


def order(epoch: int = 0) -> list[int]:
    sampler = ShuffledSampler(COUNT, batch_size=COUNT)
    sampler.set_epoch(epoch)
    return next(iter(sampler))


def flat(batches: Iterator[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


def test_epoch_after_epoch(folder: Path) -> None:
    loader = loader_of(folder)
    assert len(loader) == 11
    for epoch in range(3):
        assert flat(map(records_of, loader)) == order(epoch)


@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_give_the_same_batches(
    folder: Path, start: Literal["fork", "spawn"], workers: int
) -> None:
    loader = loader_of(folder, workers=workers, start=start)
    for epoch in range(2):
        assert flat(map(records_of, loader)) == order(epoch)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_prepared_ahead_do_not_count(folder: Path, workers: int) -> None:
    loader = loader_of(folder, workers=workers, start="fork")
    first = flat(map(records_of, islice(loader, 3)))
    assert loader.records == first[-10:]
    state = loader.state_dict()
    assert state["consumed"] == 30

    again = loader_of(folder, batch_size=7)
    again.load_state_dict(state)
    assert first + flat(map(records_of, again)) == order()
    assert flat(map(records_of, again)) == order(1)


def test_an_iteration_that_was_left_is_gone_on_with(folder: Path) -> None:
    loader = loader_of(folder)
    first = flat(map(records_of, islice(loader, 4)))
    assert len(loader) == 7
    assert first + flat(map(records_of, loader)) == order()


def test_the_end_of_an_epoch_can_be_saved(folder: Path) -> None:
    loader = loader_of(folder)
    states = [loader.state_dict() for _ in loader]
    assert states[-1]["consumed"] == COUNT
    assert loader.state_dict()["epoch"] == 1
    loader.load_state_dict(states[-1])
    assert list(loader) == []
    assert flat(map(records_of, loader)) == order(1)


def doubled(batch: dict[str, Any]) -> torch.Tensor:
    twice: torch.Tensor = batch["x"].long() * 2
    return twice


def test_transform(folder: Path) -> None:
    batch = next(iter(loader_of(folder, transform=doubled)))
    assert batch[:, 0].tolist() == [2 * number for number in order()[:10]]


@pytest.mark.parametrize("workers", [0, 1])
def test_random_numbers_are_left_alone(folder: Path, workers: int) -> None:
    before = torch.get_rng_state()
    assert len(list(loader_of(folder, workers=workers, start="fork"))) == 11
    assert torch.equal(torch.get_rng_state(), before)


def test_a_plain_data_loader(folder: Path) -> None:
    dataset = PackedDataset(folder)
    sampler = ShuffledSampler(dataset, batch_size=10)
    loader = DataLoader(dataset, sampler=sampler, batch_size=None)
    assert flat(map(records_of, loader)) == order()
