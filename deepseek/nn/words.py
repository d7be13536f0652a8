"""Integers of 4 or 8 bits side by side in 32-bit words, the first in the lowest bits.

They are stored as unsigned numbers: 8 is added at 4 bits, 128 at 8. This is the layout of
"pack-quantized" in the compressed-tensors format.
"""

import torch
from torch import Tensor

__all__ = ["pack_words", "unpack_words", "words_for"]


def words_for(count: int, bits: int) -> int:
    """How many words hold so many integers."""
    return -(-count * bits // 32)


def pack_words(integers: Tensor, bits: int) -> Tensor:
    """Pack the rows of a matrix.

    Args:
        integers: ``[rows, columns]``, from ``-2**(bits - 1)`` on.
        bits: 4 or 8.

    Returns:
        INT32, ``[rows, words]``; what is over in the last word is zero.
    """
    rows, columns = integers.shape
    words, each = words_for(columns, bits), 32 // bits
    padded = torch.zeros(rows, words * each, dtype=torch.int32, device=integers.device)
    padded[:, :columns] = integers.int() + (1 << (bits - 1))
    # The sum wraps where an integer takes the sign bit; its bits are right.
    shifted = padded.view(rows, words, each) << _places(bits, integers.device)
    return shifted.sum(-1, dtype=torch.int32)


def unpack_words(words: Tensor, bits: int, columns: int) -> Tensor:
    """The INT32 matrix ``[rows, columns]`` that :func:`pack_words` made ``words`` of."""
    lanes = words.unsqueeze(-1) >> _places(bits, words.device)
    integers = (lanes & ((1 << bits) - 1)) - (1 << (bits - 1))
    return integers.flatten(1)[:, :columns]


def _places(bits: int, device: torch.device) -> Tensor:
    return torch.arange(0, 32, bits, dtype=torch.int32, device=device)
