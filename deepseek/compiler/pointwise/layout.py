"""How operands lie along the rows of a result, found anew for each size.

Dimensions that all operands step through evenly become one. The innermost one that is left is a
row; up to three more are walked through. Which class of layout an operand falls in does not depend
on sizes, but for sizes of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from deepseek.kernels.rows.operands import merge_dimensions

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["STRIP", "Rows", "rows_of"]

STRIP = 4096
"""Elements that a row is cut to where that can be done: 16 KiB of fp32 an operand."""

_LEADING = 3


@dataclass(frozen=True, slots=True)
class Rows:
    """A result as rows.

    Attributes:
        count: How many.
        width: Elements of each but the last.
        sizes: Of the second and third leading dimension.
        layouts: Each operand's: ``dense``, ``spread`` or ``strided``.
        strides: Each operand's in the three leading dimensions.
        steps: Each operand's within a row.
    """

    count: int
    width: int
    sizes: tuple[int, int]
    layouts: tuple[str, ...]
    strides: tuple[tuple[int, ...], ...]
    steps: tuple[int, ...]


def rows_of(shape: Sequence[int], strides: Sequence[Sequence[int]], few: int = 1) -> Rows | None:
    """The rows of a contiguous result, cut into more where there are fewer than ``few``.

    Args:
        shape: Of the result, all positive.
        strides: Of each operand in these dimensions, 0 where it is broadcast.
        few: How many rows are wanted for all threads to have some.

    Returns:
        The rows, or None where there are more than four dimensions to walk through.
    """
    merged = _merged(shape, strides)
    (width, steps), leading = merged[0], merged[1:]
    if len(leading) > _LEADING:
        return None
    total = prod(size for size, _ in merged)
    if width > STRIP:
        parts = _parts(width, len(leading), total // width, few)
        if parts > 1:
            width = width // parts if leading else STRIP
            leading.insert(0, (parts, tuple(step * width for step in steps)))
    leading += [(1, (0,) * len(strides))] * (_LEADING - len(leading))
    inner, middle, _ = leading
    return Rows(
        count=-(-total // width),
        width=width,
        sizes=(middle[0], inner[0]),
        layouts=tuple("dense" if s == 1 else "strided" if s else "spread" for s in steps),
        strides=tuple(zip(*(steps for _, steps in reversed(leading)), strict=True)),
        steps=steps,
    )


def _parts(width: int, leading: int, rows: int, few: int) -> int:
    """Into how many parts rows are cut: any number if there is one row, else of equal size."""
    if not leading:
        return -(-width // STRIP)
    parts = 1
    while leading < _LEADING and rows * parts < few and not width % (2 * parts):
        parts *= 2
    return parts


def _merged(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> list[tuple[int, tuple[int, ...]]]:
    """Sizes and each operand's steps, innermost first, with as few dimensions as there can be."""
    return merge_dimensions(shape, strides) or [(1, (1,) * len(strides))]
