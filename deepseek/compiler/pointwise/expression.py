"""What a fused kernel computes: inputs, and steps that each make one value of earlier ones.

Values are numbered: the inputs first, then the steps. The result is the last step's. Nothing here
knows torch or LLVM; an expression is hashable, and its ``repr`` is the identity of its kernel on
disk.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Expression", "Input", "Literal", "Operand", "Step"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A number that is compiled in.

    Attributes:
        text: The number exactly. Text, because 1, 1.0 and True are equal and so are 0.0 and -0.0.
    """

    text: str

    @staticmethod
    def of(number: float) -> Literal:
        """The literal of a number."""
        return Literal(number.hex() if isinstance(number, float) else str(int(number)))

    @property
    def number(self) -> float:
        """The number: a float if it was one."""
        whole = self.text.lstrip("-").isdecimal()
        return int(self.text) if whole else float.fromhex(self.text)


Operand = int | Literal
"""The number of a value, or a literal."""


@dataclass(frozen=True, slots=True)
class Input:
    """An operand of the kernel.

    Attributes:
        dtype: Name that torch has for its dtype. Numbers are ``float32`` or ``int64``.
        kind: ``tensor``; ``scalar``, a tensor of no dimensions; or ``number``, one of Python's.
    """

    dtype: str
    kind: str = "tensor"


@dataclass(frozen=True, slots=True)
class Step:
    """One function of some values.

    Attributes:
        function: A name of :data:`deepseek.compiler.pointwise.functions.FUNCTIONS`.
        operands: What it is applied to.
        compute: dtype that the operands are brought to first.
        dtype: dtype of the result, which is rounded to it.
        exact: Operands that are not rounded to bf16 where ``compute`` is.
        conditions: How many of the first operands are brought to bool instead.
    """

    function: str
    operands: tuple[Operand, ...]
    compute: str
    dtype: str
    exact: tuple[int, ...] = ()
    conditions: int = 0


@dataclass(frozen=True, slots=True)
class Expression:
    """A whole kernel's computation.

    Attributes:
        inputs: Its operands.
        steps: What is computed, in order.
    """

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]

    @property
    def dtype(self) -> str:
        """Name of the result's dtype."""
        return self.steps[-1].dtype
