"""Loops that the row kernels share: along a row, and from row to row of a strided tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepseek.kernels.emit import I64

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deepseek.kernels.emit import Function, Task, Value, Variable

__all__ = ["WAYS", "Place", "sum_of", "sweep", "walk"]

WAYS = 4
"""Sums that are carried side by side, because an addition takes three or four cycles to finish."""


def sweep(
    f: Function, length: Value, carry: Sequence[Variable] = ()
) -> Iterator[tuple[Value, Value | None, int]]:
    """:meth:`Function.strips` with :data:`WAYS` vectors a turn, for sums.

    Yields:
        First element of the strip, the mask of its lanes or None where all are there, and which of
        the sums it is for.
    """
    step = f.lanes * WAYS
    wide, full = length & -step, length & -f.lanes
    for position in f.range(0, wide, step, carry):
        for way in range(WAYS):
            yield position + way * f.lanes, None, way
    for position in f.range(wide, full, f.lanes, carry):
        yield position, None, 0
    with f.when(full < length, carry):
        yield full, f.mask_below(length - full), 0


def sum_of(f: Function, parts: Sequence[Value]) -> Value:
    """The sum over all lanes of some vectors, as a scalar."""
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return f.reduce("add", parts[0])


@dataclass(frozen=True, slots=True)
class Place:
    """A row of a result, and where it is in operands whose leading dimensions are (o, m, i).

    Attributes:
        row: Its number, which is its place in a contiguous tensor.
        outer: Index in the first leading dimension.
        middle: Index in the second.
        inner: Index in the last.
    """

    row: Value
    outer: Value
    middle: Value
    inner: Value

    def offset(self, strides: tuple[Value, Value, Value]) -> Value:
        """Elements from the beginning of an operand to this row of it."""
        return self.outer * strides[0] + self.middle * strides[1] + self.inner * strides[2]


def walk(f: Task, middle: Value, inner: Value) -> Iterator[Place]:
    """The task's rows one after the other. Divides once, then counts."""
    rest = f.begin // inner
    counters = [f.variable(v) for v in (rest // middle, rest % middle, f.begin % inner)]
    for row in f.range(f.begin, f.end, carry=counters):
        o, m, i = counters
        yield Place(row, o.value, m.value, i.value)
        i += 1
        over = i.equals(inner).to(I64)
        i.set(f.select(i.equals(inner), f.like(0, i), i))
        m += over
        over = m.equals(middle).to(I64)
        m.set(f.select(m.equals(middle), f.like(0, m), m))
        o += over
