"""Arrays: a base address with an element type, read and written as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit.masked import load_masked, store_masked
from deepseek.kernels.emit.types import BF16, I16, bytes_of, vector

if TYPE_CHECKING:
    from llvmlite import ir

    from deepseek.kernels.emit.builder import Builder
    from deepseek.kernels.emit.value import Operand, Value

__all__ = ["Array"]


class Array:
    """Numbers in memory, one after the other.

    bf16 elements are widened to fp32 as they are read and rounded as they are written, so that a
    kernel computes in fp32 whatever its operands are stored in.

    Args:
        builder: Where instructions go.
        pointer: Address of element 0.
        element: Type of the elements in memory.
        align: Bytes that every access may rely on; one element unless more is known.
    """

    __slots__ = ("_stored", "align", "builder", "element", "pointer")

    def __init__(
        self, builder: Builder, pointer: Value, element: ir.Type, align: int | None = None
    ) -> None:
        self.builder = builder
        self.pointer = pointer
        self.element = element
        self._stored = I16 if element == BF16 else element
        self.align = align or bytes_of(element)

    def at(self, offset: Operand) -> Array:
        """The array that begins ``offset`` elements further on."""
        pointer = self.builder.offset(self.pointer, offset, self._stored)
        return Array(self.builder, pointer, self.element, self.align)

    def load(
        self,
        offset: Operand = 0,
        mask: Value | None = None,
        lanes: int | None = None,
        other: float = 0.0,
    ) -> Value:
        """Read ``lanes`` elements (a register's worth unless given) as fp32, or as they are.

        Lanes outside the mask are ``other``, and their memory is not touched.
        """
        lanes = self.builder.lanes if lanes is None else lanes
        pointer = self.builder.offset(self.pointer, offset, self._stored)
        type_ = vector(self._stored, lanes)
        if mask is None:
            value = self.builder.load(pointer, type_, self.align)
        else:
            value = load_masked(self.builder, pointer, type_, mask)
        if self.element == BF16:
            value = self.builder.widen_bf16(value)
        if mask is not None and other != 0.0:
            value = self.builder.select(mask, value, other)
        return value

    def scalar(self, offset: Operand = 0) -> Value:
        """Read one element."""
        return self.load(offset, lanes=1)

    def spread(self, offset: Operand = 0, lanes: int | None = None) -> Value:
        """Read one element into every lane of a vector."""
        return self.scalar(offset).splat(self.builder.lanes if lanes is None else lanes)

    def store(
        self,
        value: Value,
        offset: Operand = 0,
        mask: Value | None = None,
        *,
        streamed: bool = False,
    ) -> None:
        """Write a scalar or vector, rounded to the element type where that is narrower.

        Where ``streamed``, full vectors go past the caches; their addresses must be aligned.
        """
        is_bf16 = self.element == BF16
        value = self.builder.round_to_bf16(value) if is_bf16 else value.to(self.element)
        pointer = self.builder.offset(self.pointer, offset, self._stored)
        if mask is not None:
            store_masked(self.builder, value, pointer, mask)
        elif streamed:
            self.builder.stream(value, pointer)
        else:
            self.builder.store(value, pointer, self.align)
