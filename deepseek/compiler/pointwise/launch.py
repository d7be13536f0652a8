"""How a kernel is run on operands of one look: found once, then kept."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.compiler.pointwise.functions import FUNCTIONS
from deepseek.compiler.pointwise.kernel import Form, arguments_of, build_pointwise, sources
from deepseek.compiler.pointwise.layout import Rows, rows_of
from deepseek.compiler.pointwise.writer import DTYPES
from deepseek.kernels.calls import broadcast_shape
from deepseek.kernels.jit import kernel
from deepseek.kernels.memory import empty
from deepseek.kernels.parallel import run, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deepseek.compiler.pointwise.expression import Expression
    from deepseek.kernels.jit import Kernel
    from deepseek.kernels.target import Target

__all__ = ["Launch", "inverse", "launch_for"]

_TORCH = {name: dtype for dtype, name in DTYPES.items()}
_FAR = 4  # elements: gathered at 0.7 ns each when 2 apart, 7 ns when 1024; torch copies at 0.9
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
        numbers: Whether some operands are numbers.
        anew: Operands that are copied first, and the order that their dimensions have then.
    """

    kernel: Kernel
    pack: Callable[..., bytes]
    shape: tuple[int, ...]
    order: tuple[int, ...] | None
    dtype: torch.dtype
    units: int
    chunk: int
    numbers: bool
    anew: tuple[tuple[int, tuple[int, ...]], ...] = ()

    def bound(self) -> Callable[..., Tensor]:
        """A function of operands of these looks: tensors, and numbers as they are.

        It raises OverflowError or struct.error for a number that the kernel's dtypes do not hold.
        """
        kernel, pack, shape, dtype = self.kernel, self.pack, self.shape, self.dtype
        units, chunk, order = self.units, self.chunk, self.order
        anew, numbers = self.anew, self.numbers

        def call(*operands: Any) -> Tensor:
            if anew:
                operands = _laid_out(operands, anew)
            out = empty(shape, dtype)
            if numbers:
                values = [x.data_ptr() if isinstance(x, Tensor) else x for x in operands]
            else:
                values = [x.data_ptr() for x in operands]
            run(kernel, pack(*values, out.data_ptr()), units, chunk)
            return out if order is None else out.permute(order)

        return call


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
    shape = broadcast_shape([x.shape for x in tensors])
    if shape is None:  # torch's own operators tell what is wrong
        return None
    total = prod(shape)
    ordered = tuple(range(len(shape))) if order is None else order
    if not total or not shape or len(ordered) != len(shape):
        return None
    inner = tuple(shape[dimension] for dimension in ordered)
    anew: tuple[tuple[int, tuple[int, ...]], ...] = ()
    rows = _rows(inner, tensors, ordered)
    if rows is None or max(rows.steps) > _FAR:
        anew = tuple(_orders(operands, len(shape), ordered, rows))
        operands = _laid_out(operands, anew)
        rows = _rows(inner, [x for x in operands if isinstance(x, Tensor)], ordered)
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
        numbers=any(x.kind == "number" for x in expression.inputs),
        anew=anew,
        units=rows.count,
        chunk=max(1, _WORTH_A_THREAD // (rows.width * cost(expression))),
    )


def cost(expression: Expression) -> int:
    """Roughly what an element of the result costs, in additions."""
    return 2 + sum(FUNCTIONS[step.function].cost for step in expression.steps)


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """The order that brings dimensions back."""
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _rows(inner: tuple[int, ...], tensors: Sequence[Tensor], order: tuple[int, ...]) -> Rows | None:
    shape = [inner[place] for place in inverse(order)]
    strides = [x.expand(shape).permute(order).stride() for x in tensors]
    return rows_of(inner, strides, few=4 * threads())


def _orders(
    operands: Sequence[Any], dimensions: int, order: tuple[int, ...], rows: Rows | None
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Operands that are better copied, with their own dimensions in the order of the result's.

    All of them where there are too many dimensions to walk through, else those whose elements are
    far apart along a row: a line of the cache is read for each.
    """
    steps = iter(() if rows is None else rows.steps)
    for number, x in enumerate(operands):
        if not isinstance(x, Tensor):
            continue
        if next(steps, _FAR + 1) > _FAR:
            missing = dimensions - x.dim()
            yield number, tuple(place - missing for place in order if place >= missing)


def _laid_out(
    operands: Sequence[Any], anew: Sequence[tuple[int, tuple[int, ...]]]
) -> tuple[Any, ...]:
    result = list(operands)
    for number, order in anew:
        result[number] = result[number].permute(order).contiguous().permute(inverse(order))
    return tuple(result)


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
