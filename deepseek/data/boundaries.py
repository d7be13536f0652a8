"""From the boundaries of packed sequences to what models take."""

# B sequences, L tokens in each

import torch
from torch import Tensor

from deepseek.data.packed.ragged import Ragged

__all__ = ["document_ids", "position_ids"]


def document_ids(boundaries: Ragged, length: int) -> Tensor:
    """Which text of its sequence each token belongs to, from 0: int64, shape (B, L).

    Tokens of one text have the same number, so attention within a text is
    ``ids[:, :, None] == ids[:, None, :]``.

    Args:
        boundaries: As ``deepseek data pack --pack_length`` makes them: where the parts of each
            sequence begin, and its length.
        length: The length of the sequences.
    """
    return _begins(boundaries, length).cumsum(1) - 1


def position_ids(boundaries: Ragged, length: int) -> Tensor:
    """How many tokens each token is behind the beginning of its part: int64, shape (B, L).

    Args:
        boundaries: As for ``document_ids``.
        length: The length of the sequences.
    """
    places = torch.arange(length, device=boundaries.values.device)
    begins = (_begins(boundaries, length) * places).cummax(1).values
    return places - begins


def _begins(boundaries: Ragged, length: int) -> Tensor:
    """One where a part begins, else zero: int64, shape (B, L)."""
    sequences = torch.arange(len(boundaries), device=boundaries.values.device)
    rows = sequences.repeat_interleave(boundaries.lengths)
    begins = boundaries.values.new_zeros((len(boundaries), length + 1), dtype=torch.int64)
    begins[rows, boundaries.values.long()] = 1
    return begins[:, :length]
