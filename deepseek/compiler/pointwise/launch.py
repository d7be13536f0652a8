"""How a kernel is run on operands of one look: found once, then kept."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.compiler.pointwise.functions import FUNCTIONS
from deepseek.compiler.pointwise.kernel import Form, arguments_of, build_pointwise, sources
from deepseek.compiler.pointwise.layout import rows_of
from deepseek.compiler.pointwise.writer import DTYPES
from deepseek.kernels.jit import kernel
from deepseek.kernels.parallel import run, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deepseek.compiler.pointwise.expression import Expression
    from deepseek.kernels.jit import Kernel
    from deepseek.kernels.target import Target

__all__ = ["Launch", "inverse", "launch_for"]

_TORCH = {name: dtype for dtype, name in DTYPES.items()}
_WORTH_A_THREAD = 1 << 16  # additions: about 5 us on one core, a region costs 1.4 us


@dataclass(frozen=True, slots=True)
class Launch:
    """How operands of one look are computed.

    Attributes:
        kernel: What runs.
        pack: From the operands, addresses of tensors and numbers as they are, and the address of
            the result to the kernel's arguments.
        shape: Of the result, dimensions in the order of memory.
        order: Where each dimension of the result is among those; None where they are the same.
        dtype: Of the result.
        units: Units of work.
        chunk: Units that a thread takes at a time.
    """

    kernel: Kernel
    pack: Callable[..., bytes]
    shape: tuple[int, ...]
    order: tuple[int, ...] | None
    dtype: torch.dtype
    units: int
    chunk: int

    def __call__(self, *operands: Any) -> Tensor:
        """Compute the result.

        Raises:
            OverflowError: A number is none that the kernel's dtypes hold.
        """
        out = torch.empty(self.shape, dtype=self.dtype)
        values = [x.data_ptr() if isinstance(x, Tensor) else x for x in operands]
        run(self.kernel, self.pack(*values, out.data_ptr()), self.units, self.chunk)
        return out if self.order is None else out.permute(self.order)


def launch_for(
    expression: Expression,
    operands: Sequence[Any],
    order: tuple[int, ...] | None,
    target: Target,
) -> Launch | None:
    """The launch for operands that look like these; None where there is none.

    Args:
        expression: What is computed.
        operands: Tensors, and numbers.
        order: Dimensions of the result in the order of memory, or None where that is their own.
        target: What to compile for.
    """
    if not _fit(expression, operands):
        return None
    tensors = [x for x in operands if isinstance(x, Tensor)]
    shape = torch.broadcast_shapes(*[x.shape for x in tensors])  # type: ignore[no-untyped-call]
    total = prod(shape)
    ordered = tuple(range(len(shape))) if order is None else order
    if not total or not shape or len(ordered) != len(shape):
        return None
    strides = [x.expand(shape).permute(ordered).stride() for x in tensors]
    inner = tuple(shape[dimension] for dimension in ordered)
    rows = rows_of(inner, strides, few=4 * threads())
    if rows is None:
        return None
    layouts: list[str] = []
    fixed: list[int] = []
    places = iter(zip(rows.layouts, rows.strides, rows.steps, strict=True))
    for x in expression.inputs:
        layout, leading, step = (x.kind, (), 0) if x.kind == "number" else next(places)
        layouts.append(layout if x.kind == "tensor" else x.kind)
        if x.kind == "tensor":
            fixed += [*leading, step] if layout == "strided" else leading
    form = Form(expression, tuple(layouts))
    return Launch(
        kernel=kernel(build_pointwise, form, sources(), target=target),
        pack=arguments_of(form).bind(rows.width, total, *rows.sizes, *fixed),
        shape=inner,
        order=None if order is None else inverse(order),
        dtype=_TORCH[expression.dtype],
        units=rows.count,
        chunk=max(1, _WORTH_A_THREAD // (rows.width * cost(expression))),
    )


def cost(expression: Expression) -> int:
    """Roughly what an element of the result costs, in additions."""
    return 2 + sum(FUNCTIONS[step.function].cost for step in expression.steps)


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """The order that brings dimensions back."""
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _fit(expression: Expression, operands: Sequence[Any]) -> bool:
    """Whether operands are what the expression was written for."""
    if len(operands) != len(expression.inputs):
        return False
    for x, given in zip(operands, expression.inputs, strict=True):
        if isinstance(x, Tensor):
            kind = "tensor" if x.dim() else "scalar"
            if given.kind != kind or DTYPES.get(x.dtype) != given.dtype or x.is_neg():
                return False
        elif given.kind != "number" or isinstance(x, bool) or not isinstance(x, (int, float)):
            return False
    return True
