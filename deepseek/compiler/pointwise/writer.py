"""Writing an expression down while the nodes of a graph are read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.fx import Node

from deepseek.compiler.looks import Look, Symbolic
from deepseek.compiler.nodes import value_of
from deepseek.compiler.pointwise.expression import Expression, Input, Literal, Operand, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["DTYPES", "UnsupportedError", "Writer", "promoted"]

DTYPES = {
    dtype: str(dtype).removeprefix("torch.")
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.int32, torch.bool)
}
"""The dtypes that kernels compute in, and their names."""

_LARGEST = torch.finfo(torch.float32).max
_NUMBERS = (int, float, Symbolic, torch.SymFloat)


class UnsupportedError(Exception):
    """A node that no kernel computes; the graph keeps it as it is."""


class Writer:
    """Collects inputs and steps; values are known by the nodes of the graph that make them.

    A node that is read and unknown becomes an input. Numbers of values are right only where all
    inputs were given at first; otherwise what is written tells which inputs there are.

    Args:
        inputs: The first inputs.

    Attributes:
        inputs: The nodes that inputs come from, in order.
        values: Node -> number of its value, once it is an input or has been written.
    """

    def __init__(self, inputs: Sequence[Node] = ()) -> None:
        self.inputs: list[Node] = []
        self.values: dict[Node, int] = {}
        self._kinds: list[Input] = []
        self._steps: list[Step] = []
        for node in inputs:
            self._add(node)

    @property
    def expression(self) -> Expression:
        """What has been written."""
        steps = [
            replace(step, function="erf_beside_one")
            if step.function == "erf" and self._is_added_to_one(len(self._kinds) + position)
            else step
            for position, step in enumerate(self._steps)
        ]
        return Expression(tuple(self._kinds), tuple(steps))

    def _is_added_to_one(self, number: int) -> bool:
        """Whether a value is used in sums with 1 alone, where digits beyond 1e-7 are lost."""
        users = [step for step in self._steps if number in step.operands]
        ones = (Literal.of(1), Literal.of(1.0))
        return bool(users) and all(
            step.function == "add" and step.operands[0 if step.operands[1] == number else 1] in ones
            for step in users
        )

    def operand(self, argument: object) -> Operand:
        """The operand that an argument of an operator stands for.

        Raises:
            UnsupportedError: It is neither a number nor a tensor that kernels read.
        """
        if isinstance(argument, Node):
            if argument not in self.values:
                self._add(argument)
            return self.values[argument]
        if isinstance(argument, int):
            if abs(argument) > 2**62:
                raise UnsupportedError(repr(argument))
            return Literal.of(argument)
        if isinstance(argument, float):
            if _LARGEST < abs(argument) < float("inf"):
                raise UnsupportedError(repr(argument))
            return Literal.of(argument)
        raise UnsupportedError(repr(argument))

    def _add(self, node: Node) -> None:
        self._kinds.append(_input_of(node))
        self.values[node] = len(self.inputs)
        self.inputs.append(node)

    def step(
        self,
        function: str,
        operands: Sequence[Operand],
        compute: torch.dtype,
        dtype: torch.dtype | None = None,
        exact: tuple[int, ...] = (),
        conditions: int = 0,
    ) -> int:
        """Write a step down; the number of its value."""
        result = compute if dtype is None else dtype
        if compute not in DTYPES or result not in DTYPES:
            raise UnsupportedError(function)
        if compute == torch.int32 and any(_is_wide(x) for x in operands):
            raise UnsupportedError(function)
        names = DTYPES[compute], DTYPES[result]
        self._steps.append(Step(function, tuple(operands), *names, exact, conditions))
        return len(self._kinds) + len(self._steps) - 1


def promoted(*arguments: object) -> torch.dtype:
    """The dtype that torch brings arguments to: tensors' nodes, numbers' nodes, numbers."""
    a, b = (_example(argument) for argument in arguments)
    return torch.result_type(a, b)


def _example(argument: object) -> Tensor | float:
    value = value_of(argument) if isinstance(argument, Node) else argument
    if isinstance(value, Look):
        return value.example()
    if isinstance(value, (bool, torch.SymBool)):
        return True
    if isinstance(value, (int, Symbolic)):
        return 1
    if isinstance(value, (float, torch.SymFloat)):
        return 1.0
    raise UnsupportedError(repr(argument))


def _is_wide(x: Operand) -> bool:
    """Whether a literal is no 32-bit integer; torch wraps some of those and refuses others."""
    return isinstance(x, Literal) and not -(2**31) <= x.number < 2**31


def _input_of(node: Node) -> Input:
    value = value_of(node)
    if isinstance(value, Look):
        dense = value.layout == torch.strided and value.device.type == "cpu"
        if value.dtype not in DTYPES or not dense:
            raise UnsupportedError(node.name)
        return Input(DTYPES[value.dtype], "tensor" if value.dim() else "scalar")
    if isinstance(value, _NUMBERS) and not isinstance(value, bool):
        whole = isinstance(value, (int, Symbolic))
        return Input("int64" if whole else "float32", "number")
    raise UnsupportedError(node.name)
