"""A fused group as a function of its operands."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, is_grad_enabled
from torch.compiler import is_dynamo_compiling

from deepseek.kernels.calls import keep
from deepseek.kernels.parallel import listened
from deepseek.kernels.target import current

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from torch._ops import OpOverload

    from deepseek.compiler.pointwise.expression import Expression
    from deepseek.compiler.pointwise.launch import Launch
    from deepseek.kernels.target import Target

__all__ = ["Operation", "Pointwise", "Ref"]

_PLAIN = frozenset({Tensor, torch.nn.Parameter})
_modes: Callable[[], int] = torch._C._len_torch_dispatch_stack  # noqa: SLF001 - no public name
_transform: Callable[[], object] = torch._C._functorch.peek_interpreter_stack  # noqa: SLF001
_numbers = count()


@dataclass(frozen=True, slots=True)
class Ref:
    """An earlier value among the arguments of an :class:`Operation`.

    Attributes:
        number: Which: the operands first, then the results of operations.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Operation:
    """A call of an ATen operator.

    Attributes:
        target: The operator.
        arguments: Its arguments; :class:`Ref` for values.
        options: Its arguments by name.
    """

    target: OpOverload
    arguments: tuple[object, ...]
    options: tuple[tuple[str, object], ...] = ()


class Pointwise:
    """One kernel for a group of pointwise operators: a function from its operands to a tensor.

    Operands are broadcast as torch does it. Where torch has to see the operators - for autograd, on
    another device, under a dispatch mode, without elements - they are called one after the other.

    Args:
        expression: What is computed.
        operations: The operators that it was read from.
        order: The dimensions of the result in the order of memory, outermost first, where that is
            not their own order.
        target: What to compile for; the process's target unless given.
    """

    def __init__(
        self,
        expression: Expression,
        operations: Sequence[Operation],
        order: tuple[int, ...] | None = None,
        target: Target | None = None,
    ) -> None:
        self.expression = expression
        self.operations = tuple(operations)
        self.order = order
        self.target = target
        names = [operation.target.overloadpacket.__name__ for operation in self.operations]
        self.__name__ = "_".join(["pointwise", str(next(_numbers)), *names[:6]])
        self.__qualname__ = self.__name__
        self._calls: dict[Hashable, Callable[..., Tensor]] = {}

    def __repr__(self) -> str:
        return f"<{self.__name__}>"

    def __call__(self, *operands: Any) -> Tensor:
        """The result for these operands: tensors, and numbers where the graph had numbers.

        Returns:
            A new tensor, contiguous unless the group has another order of memory.
        """
        look = _look_of(operands)
        if look is None:
            return self.reference(*operands)
        call = self._calls.get(look)
        if call is None:
            call = keep(self._calls, look, self._prepared(operands))
        try:
            return call(*operands)
        except (OverflowError, struct.error):  # a number that fp32 or int64 does not hold
            return self.reference(*operands)

    def reference(self, *operands: Any) -> Tensor:
        """The same by torch's own operators, one after the other."""
        values: list[Any] = list(operands)
        for operation in self.operations:
            arguments = [_given(x, values) for x in operation.arguments]
            options = {name: _given(x, values) for name, x in operation.options}
            values.append(operation.target(*arguments, **options))
        result = values[-1]
        assert isinstance(result, Tensor)
        if self.order is None or len(self.order) != result.dim():
            return result.contiguous()
        from deepseek.compiler.pointwise.launch import inverse

        return result.permute(self.order).contiguous().permute(inverse(self.order))

    def launch(self, operands: Sequence[Any]) -> Launch | None:
        """How operands that look like these are computed; None where torch's operators have to.

        The kernel is compiled if this is the first time that operands lie in memory like these.
        """
        from deepseek.compiler.pointwise.launch import launch_for

        return launch_for(self.expression, operands, self.order, self.target or current())

    def _prepared(self, operands: Sequence[Any]) -> Callable[..., Tensor]:
        launch = self.launch(operands)
        return self.reference if launch is None else launch.bound()


def _given(argument: object, values: Sequence[Any]) -> Any:
    return values[argument.number] if isinstance(argument, Ref) else argument


def _look_of(operands: Sequence[Any]) -> Hashable:
    """What a prepared call depends on; None where torch has to see the call.

    As :func:`deepseek.kernels.calls.needs_torch`, and for modes that watch each operator unless
    they watch kernels too, in one pass: on small operands it takes as long as the kernel.
    """
    if is_dynamo_compiling() or (_modes() and not listened()) or _transform() is not None:
        return None
    recording = is_grad_enabled()
    look: list[object] = []
    for x in operands:
        if type(x) in _PLAIN:
            if not x.is_cpu or (recording and x.requires_grad):
                return None
            look += (x.dtype, x.shape, x.stride())
        elif isinstance(x, Tensor):
            return None
        else:
            look.append(None)
    return tuple(look)
