"""What functions over kernels have in common before a kernel runs.

What a call needs follows from the looks of its operands alone: their dtypes, shapes and strides.
It is prepared when a look is first seen and found again in a dictionary, because on small operands
the checks would take longer than the kernel.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from deepseek.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = [
    "DTYPES", "MASKS", "WORTH_A_THREAD", "broadcast_shape", "check_broadcast", "is_small", "keep",
    "needs_torch",
]  # fmt: skip

DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
"""The dtypes that kernels read and write, and their names."""

MASKS = {torch.bool: "bool", **DTYPES}
"""The dtypes of masks, and their names."""

WORTH_A_THREAD = 1 << 18
"""Multiply-adds for which another thread is called: about 5 us on one core, a region costs 1.4."""

_PLAIN = frozenset({Tensor, torch.nn.Parameter})
_MOST = 1024

_Call = TypeVar("_Call")


def needs_torch(*operands: Tensor | None) -> bool:
    """Whether torch must see the call: for autograd, another device, tracing, tensor subclasses."""
    # Dynamo takes this for true; the flag of is_compiling would be raised for other threads too
    if torch.compiler.is_dynamo_compiling():
        return True
    recording = torch.is_grad_enabled()
    for operand in operands:
        if operand is not None and (
            type(operand) not in _PLAIN
            or not operand.is_cpu
            or (recording and operand.requires_grad)
        ):
            return True
    return False


def check_broadcast(name: str, operand: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse an operand that is not broadcast to ``shape``.

    Raises:
        InputError: It is not.
    """
    missing = len(shape) - operand.dim()
    sizes = (1,) * missing + tuple(operand.shape)
    if missing < 0 or any(have not in (1, want) for have, want in zip(sizes, shape, strict=True)):
        raise InputError(
            f"expected `{name}` broadcast to {tuple(shape)}, got shape {tuple(operand.shape)}"
        )


def broadcast_shape(shapes: Sequence[torch.Size]) -> tuple[int, ...] | None:
    """The shape that all are broadcast to; None where they do not fit together.

    Torch's own function brings in its arithmetic on symbols, 25 ms, which plain sizes do not need.
    """
    if any(type(size) is not int for shape in shapes for size in shape):
        with suppress(RuntimeError):
            return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]
        return None
    reverse = []
    for sizes in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        size = next((size for size in sizes if size != 1), 1)
        if any(other not in (1, size) for other in sizes):
            return None
        reverse.append(size)
    return tuple(reversed(reverse))


def is_small(x: Tensor, few: int) -> bool:
    """Whether ``x`` has fewer elements than that, and torch's own operators may take it at once.

    A graph that is traced should have our operators whatever the size, and empty tensors are left
    to our checks.
    """
    return (
        0 < x.numel() < few
        and x.dtype in DTYPES
        and type(x) in _PLAIN
        and not torch.compiler.is_dynamo_compiling()
    )


def keep(calls: dict[Hashable, _Call], key: Hashable, call: _Call) -> _Call:
    """Put a prepared call where it is found again; all go when there are too many."""
    if len(calls) >= _MOST:
        calls.clear()
    calls[key] = call
    return call
