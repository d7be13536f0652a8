"""Transposes of square blocks held in registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.kernels.emit.value import Value

__all__ = ["transpose"]


def transpose(rows: Sequence[Value]) -> list[Value]:
    """The columns of a square block, given its rows: n vectors of n lanes, n a power of two.

    log2(n) rounds of butterflies; the round of distance d swaps bit d of the row number with bit d
    of the lane number.
    """
    size = len(rows)
    builder = rows[0].builder
    block = list(rows)
    distance = size // 2
    while distance:
        low = [lane if not lane & distance else size + lane - distance for lane in range(size)]
        high = [lane + distance if not lane & distance else size + lane for lane in range(size)]
        for row in range(size):
            if not row & distance:
                a, b = block[row], block[row + distance]
                block[row] = builder.shuffle(a, b, low)
                block[row + distance] = builder.shuffle(a, b, high)
        distance //= 2
    return block
