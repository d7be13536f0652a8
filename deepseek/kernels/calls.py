"""What functions over kernels have in common before a kernel runs.

What a call needs follows from the looks of its operands alone: their dtypes, shapes and strides.
It is prepared when a look is first seen and found again in a dictionary, because on small operands
the checks would take longer than the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["goes_to_aten", "keep", "needs_torch"]

_PLAIN = frozenset({Tensor, torch.nn.Parameter})
_MOST = 1024
_SHARED = (torch.float32, torch.bfloat16)

_Call = TypeVar("_Call", bound="Callable[..., object]")


def needs_torch(*operands: Tensor | None) -> bool:
    """Whether torch must see the call: for autograd, another device, tracing, tensor subclasses."""
    if torch.compiler.is_compiling():
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


def goes_to_aten(
    x: Tensor, few: int, out_dtype: torch.dtype | None = None, *parameters: Tensor | None
) -> bool:
    """Whether torch's own operator does the same, and is faster below ``few`` elements.

    It must be asked for one dtype throughout, and for parameters as wide as a row.
    """
    if not 0 < x.numel() < few or not x.dim() or (out_dtype or x.dtype) != x.dtype:
        return False
    if x.dtype not in _SHARED:
        return False
    width = x.shape[-1:]
    return all(p is None or (p.dtype == x.dtype and p.shape == width) for p in parameters)


def keep(calls: dict[Hashable, _Call], key: Hashable, call: _Call) -> _Call:
    """Put a prepared call where it is found again; all go when there are too many."""
    if len(calls) >= _MOST:
        calls.clear()
    calls[key] = call
    return call
