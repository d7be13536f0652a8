"""Texts of packed sequences are told apart."""

import torch

from deepseek.data.boundaries import document_ids, position_ids
from deepseek.data.packed.ragged import Ragged


def test_texts_and_positions() -> None:
    boundaries = Ragged(
        torch.tensor([0, 2, 5, 0, 5, 0, 1, 2, 5], dtype=torch.int32), torch.tensor([0, 3, 5, 9])
    )
    assert document_ids(boundaries, 5).tolist() == [
        [0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 2, 2, 2],
    ]  # fmt: skip
    assert position_ids(boundaries, 5).tolist() == [
        [0, 1, 0, 1, 2], [0, 1, 2, 3, 4], [0, 0, 0, 1, 2],
    ]  # fmt: skip


def test_no_sequences() -> None:
    empty = Ragged(torch.empty(0, dtype=torch.int32), torch.tensor([0]))
    assert document_ids(empty, 4).shape == position_ids(empty, 4).shape == (0, 4)
