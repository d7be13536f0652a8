"""Values with operators, and variables that loops and conditions carry.

A :class:`Value` is one SSA value; its operators emit the instruction, so that
``x * scale + bias`` in a kernel's source is that computation in the kernel. Python numbers on
either side become constants of the other side's type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from deepseek.kernels.emit.types import element_of, lanes_of

if TYPE_CHECKING:
    from llvmlite import ir

    from deepseek.kernels.emit.builder import Builder

__all__ = ["Number", "Operand", "Value", "Variable"]

Number = int | float


class Value:
    """An SSA value of a function that is being built."""

    __slots__ = ("builder", "ir")

    def __init__(self, builder: Builder, ir_value: ir.Value) -> None:
        self.builder = builder
        self.ir = ir_value

    @property
    def type(self) -> ir.Type:
        """LLVM type."""
        return self.ir.type

    @property
    def element(self) -> ir.Type:
        """LLVM type of one lane."""
        return element_of(self.ir.type)

    @property
    def lanes(self) -> int:
        """How many lanes; 1 for a scalar."""
        return lanes_of(self.ir.type)

    def __add__(self, other: Operand) -> Value:
        return self.builder.arithmetic("add", self, other)

    def __sub__(self, other: Operand) -> Value:
        return self.builder.arithmetic("sub", self, other)

    def __mul__(self, other: Operand) -> Value:
        return self.builder.arithmetic("mul", self, other)

    def __truediv__(self, other: Operand) -> Value:
        return self.builder.arithmetic("div", self, other)

    def __floordiv__(self, other: Operand) -> Value:
        return self.builder.arithmetic("div", self, other)

    def __mod__(self, other: Operand) -> Value:
        return self.builder.arithmetic("rem", self, other)

    def __and__(self, other: Operand) -> Value:
        return self.builder.arithmetic("and", self, other)

    def __or__(self, other: Operand) -> Value:
        return self.builder.arithmetic("or", self, other)

    def __xor__(self, other: Operand) -> Value:
        return self.builder.arithmetic("xor", self, other)

    def __lshift__(self, other: Operand) -> Value:
        return self.builder.arithmetic("shl", self, other)

    def __rshift__(self, other: Operand) -> Value:
        """Arithmetic shift: the sign is kept. See :meth:`Builder.shift_right` for the other."""
        return self.builder.arithmetic("ashr", self, other)

    def __radd__(self, other: Number) -> Value:
        return self.builder.like(other, self) + self

    def __rsub__(self, other: Number) -> Value:
        return self.builder.like(other, self) - self

    def __rmul__(self, other: Number) -> Value:
        return self.builder.like(other, self) * self

    def __rtruediv__(self, other: Number) -> Value:
        return self.builder.like(other, self) / self

    def __neg__(self) -> Value:
        return self.builder.negative(self)

    def __lt__(self, other: Operand) -> Value:
        return self.builder.compare("<", self, other)

    def __le__(self, other: Operand) -> Value:
        return self.builder.compare("<=", self, other)

    def __gt__(self, other: Operand) -> Value:
        return self.builder.compare(">", self, other)

    def __ge__(self, other: Operand) -> Value:
        return self.builder.compare(">=", self, other)

    def equals(self, other: Operand) -> Value:
        """Lane by lane; a method, because ``==`` on values must keep meaning identity."""
        return self.builder.compare("==", self, other)

    def differs(self, other: Operand) -> Value:
        """Lane by lane; true where either side is NaN."""
        return self.builder.compare("!=", self, other)

    def to(self, element: ir.Type) -> Value:
        """The same number in another element type, rounded where it must be."""
        return self.builder.convert(self, element)

    def bits(self, element: ir.Type) -> Value:
        """The same bits read as lanes of another element type."""
        return self.builder.reinterpret(self, element)

    def splat(self, lanes: int | None = None) -> Value:
        """A vector with this scalar in every lane, as wide as a register unless told otherwise."""
        return self.builder.splat(self, lanes)

    def __getitem__(self, lane: int) -> Value:
        return self.builder.extract(self, lane)


class Variable(Value):
    """A value that may be replaced: by the body of a loop or condition that carries it.

    ``total += x`` replaces the value of ``total``; ``total.set(x)`` is the plain assignment. Use
    :attr:`value` to keep what it is now.
    """

    __slots__ = ()

    @property
    def value(self) -> Value:
        """What the variable is at this point."""
        return Value(self.builder, self.ir)

    def set(self, value: Operand) -> None:
        """Replace the value by another one of the same type."""
        self.ir = self.builder.like(value, self).ir

    def __iadd__(self, other: Operand) -> Self:
        self.set(self + other)
        return self

    def __isub__(self, other: Operand) -> Self:
        self.set(self - other)
        return self

    def __imul__(self, other: Operand) -> Self:
        self.set(self * other)
        return self


Operand = Value | int | float
