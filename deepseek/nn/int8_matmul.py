"""The product of two INT8 matrices in INT32, exact on every processor.

torch has an integer product, which is fast where the processor has VNNI instructions and a plain
loop elsewhere. The other route multiplies in float32: a product of two INT8 values is at most
2**14, so a sum of 1024 of them stays within the 2**24 up to which float32 holds every integer,
whatever the order of the additions. Longer sums are cut, and the pieces added in INT32.
"""

import torch
from torch import Tensor

__all__ = ["int8_matmul"]

_EXACT_TERMS = 2**24 // 2**14  # products of two INT8 values that float32 adds up exactly
_HAS_VNNI = bool(torch.cpu.get_capabilities().get("avx512_vnni"))
_ROWS_AT_ONCE = 4096  # rows of the weight that are widened to float32 at a time


def int8_matmul(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T`` of INT8 matrices, exact in INT32.

    Args:
        a: INT8, ``[rows, k]``; k at most 2**16, so that INT32 cannot overflow.
        b: INT8, ``[columns, k]``.

    Returns:
        INT32, ``[rows, columns]``.
    """
    return (_in_integers if _HAS_VNNI else _in_floats)(a, b)


def _in_integers(a: Tensor, b: Tensor) -> Tensor:
    if a.shape[1] == 1:  # torch 2.13 leaves the result unwritten
        return _in_floats(a, b)
    return torch._int_mm(a, b.t())  # noqa: SLF001 - torch has no other name for it


def _in_floats(a: Tensor, b: Tensor) -> Tensor:
    rows = range(0, max(1, b.shape[0]), _ROWS_AT_ONCE)
    return torch.cat([_exact_sums(a, b[first : first + _ROWS_AT_ONCE]) for first in rows], dim=1)


def _exact_sums(a: Tensor, b: Tensor) -> Tensor:
    total: Tensor | None = None
    for start in range(0, max(1, a.shape[1]), _EXACT_TERMS):
        terms = slice(start, start + _EXACT_TERMS)
        part = (a[:, terms].float() @ b[:, terms].float().t()).int()
        total = part if total is None else total.add_(part)
    assert total is not None
    return total
