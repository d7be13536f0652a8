"""Batches of records that have lengths of their own."""

import pytest
import torch

from deepseek.data.packed.ragged import Ragged

BATCH = Ragged(torch.tensor([1, 2, 3, 4, 5, 6]), torch.tensor([0, 2, 2, 5, 6]))


def test_records() -> None:
    assert len(BATCH) == 4
    assert [BATCH[place].tolist() for place in range(-4, 4)] == [[1, 2], [], [3, 4, 5], [6]] * 2
    assert BATCH.lengths.tolist() == [2, 0, 3, 1]
    with pytest.raises(IndexError):
        BATCH[4]


def test_padded() -> None:
    assert BATCH.padded().tolist() == [[1, 2, 0], [0, 0, 0], [3, 4, 5], [6, 0, 0]]
    assert BATCH.padded(-1, length=2).tolist() == [[1, 2], [-1, -1], [3, 4], [6, -1]]
    assert BATCH.padded(length=4).shape == (4, 4)


def test_padded_rows() -> None:
    rows = Ragged(torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 3]))
    assert rows.padded().tolist() == [[[0, 1], [0, 0]], [[2, 3], [4, 5]]]


def test_nothing_to_pad() -> None:
    empty = Ragged(torch.empty(0), torch.tensor([0]))
    assert empty.padded().shape == (0, 0)
    assert list(empty) == []


def test_conversion_keeps_offsets() -> None:
    halves = BATCH.to(torch.float16)
    assert halves.values.dtype == torch.float16
    assert halves.offsets.dtype == torch.int64
