"""Square blocks of numbers held in registers: transposed, or folded row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deepseek.kernels.emit.value import Value

__all__ = ["fold", "transpose"]


def transpose(rows: Sequence[Value]) -> list[Value]:
    """The columns of a square block, given its rows: n vectors of n lanes, n a power of two.

    log2(n) rounds of butterflies; the round of distance d swaps bit d of the row number with bit d
    of the lane number.
    """
    block = list(rows)
    for distance in _distances(len(rows)):
        for row in range(len(rows)):
            if not row & distance:
                pair = block[row], block[row + distance]
                block[row], block[row + distance] = _swapped(*pair, distance, len(rows))
    return block


def fold(rows: Sequence[Value], join: Callable[[Value, Value], Value]) -> Value:
    """The lanes of each row joined to one: lane i of the result is row i, of n rows of n lanes.

    The rounds of a transposition, after each of which the two of a pair are joined, so that half as
    many vectors are left.
    """
    block = list(rows)
    for distance in _distances(len(rows)):
        pairs = zip(block[:distance], block[distance:], strict=True)
        block = [join(*_swapped(a, b, distance, len(rows))) for a, b in pairs]
    return block[0]


def _distances(size: int) -> Iterator[int]:
    while size > 1:
        size //= 2
        yield size


def _swapped(a: Value, b: Value, distance: int, size: int) -> tuple[Value, Value]:
    """Two rows whose numbers differ by a bit, after that bit was swapped with one of the lanes'."""
    low = [lane if not lane & distance else size + lane - distance for lane in range(size)]
    high = [lane + distance if not lane & distance else size + lane for lane in range(size)]
    return a.builder.shuffle(a, b, low), a.builder.shuffle(a, b, high)
