"""Tensors as the row kernels need them: what fits, and where their rows are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.calls import DTYPES, MASKS, broadcast_shape, check_broadcast
from deepseek.kernels.rows.spec import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "IDS", "Levels", "broadcast_ids", "check_activation", "check_norm", "check_numbers",
    "check_same", "check_softmax", "levels", "merge_dimensions", "name_of",
    "result_dtype", "sum_dtype",
]  # fmt: skip

IDS = {torch.int64: "int64", torch.int32: "int32"}
"""The dtypes of ids and positions, and their names."""

Levels = tuple[int, int, list[tuple[int, int, int]]]


def check_numbers(name: str, operand: Tensor, like: Tensor | None = None) -> None:
    """Refuse an operand of a dtype that kernels do not read, or on another device than ``like``.

    Raises:
        InputError: It is such an operand.
    """
    if operand.dtype not in DTYPES:
        raise InputError(f"expected `{name}` of float32 or bfloat16, got {operand.dtype}")
    if like is not None and operand.device != like.device:
        raise InputError(f"expected `{name}` on {like.device}, got {operand.device}")


def check_same(name: str, operand: Tensor | None, shape: tuple[int, ...], like: Tensor) -> None:
    """Refuse an operand, where there is one, that has not this shape or does not fit otherwise.

    Raises:
        InputError: It has not.
    """
    if operand is None:
        return
    if operand.shape != shape:
        raise InputError(f"expected `{name}` of shape {tuple(shape)}, got {tuple(operand.shape)}")
    check_numbers(name, operand, like)


def check_activation(activation: str | None) -> None:
    """Refuse an activation that is not known.

    Raises:
        InputError: It is not.
    """
    if activation is not None and activation not in ACTIVATIONS:
        raise InputError(f"expected an activation of {ACTIVATIONS}, got {activation!r}")


def check_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    activation: str | None,
) -> None:
    """Refuse operands of a norm that do not fit.

    Raises:
        InputError: They do not.
    """
    check_numbers("x", x)
    if not x.dim():
        raise InputError("expected `x` of shape (..., width), got ()")
    check_same("weight", weight, (x.shape[-1],), x)
    check_same("bias", bias, (x.shape[-1],), x)
    check_same("residual", residual, x.shape, x)
    check_activation(activation)


def check_softmax(x: Tensor, mask: Tensor | None, bias: Tensor | None) -> None:
    """Refuse operands of a softmax that do not fit.

    Raises:
        InputError: They do not.
    """
    check_numbers("x", x)
    if not x.dim():
        raise InputError("expected `x` of shape (..., width), got ()")
    if mask is not None and mask.dtype not in MASKS:
        raise InputError(f"expected `mask` of bool, float32 or bfloat16, got {mask.dtype}")
    for name, operand in (("mask", mask), ("bias", bias)):
        if operand is None:
            continue
        if operand.dtype != torch.bool:
            check_numbers(name, operand, x)
        elif name == "bias":
            raise InputError("expected `bias` of float32 or bfloat16, got torch.bool")
        check_broadcast(name, operand, x.shape)


def sum_dtype(x: Tensor, residual: Tensor | None) -> torch.dtype:
    """The dtype that torch gives to the sum."""
    return x.dtype if residual is None else torch.promote_types(x.dtype, residual.dtype)


def result_dtype(default: torch.dtype, chosen: torch.dtype | None) -> torch.dtype:
    """The dtype that was asked for, or the default one.

    Raises:
        InputError: Kernels do not write it.
    """
    dtype = default if chosen is None else chosen
    if dtype not in DTYPES:
        raise InputError(f"expected `out_dtype` of float32 or bfloat16, got {dtype}")
    return dtype


def name_of(operand: Tensor | None) -> str | None:
    """The name of an operand's dtype; None where there is no operand."""
    return None if operand is None else DTYPES[operand.dtype]


def broadcast_ids(ids: Sequence[Tensor]) -> torch.Size:
    """The shape that all ids are broadcast to.

    Raises:
        InputError: There is none, or they are no integers.
    """
    for index, operand in enumerate(ids):
        if operand.dtype not in IDS:
            raise InputError(f"expected `ids[{index}]` of int64 or int32, got {operand.dtype}")
    shape = broadcast_shape([x.shape for x in ids])
    if shape is None:
        shapes = ", ".join(str(tuple(x.shape)) for x in ids)
        raise InputError(f"expected `ids` of shapes that broadcast together, got {shapes}")
    return torch.Size(shape)


def levels(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> Levels | None:
    """Leading dimensions as three: dimensions that all operands step through evenly become one.

    Args:
        shape: Sizes of the leading dimensions, all positive.
        strides: Of each operand, in these dimensions.

    Returns:
        Sizes of the second and third dimension, and each operand's three strides; None where three
        are not enough.
    """
    merged = merge_dimensions(shape, strides)
    if len(merged) > 3:
        return None
    merged += [(1, (0,) * len(strides))] * (3 - len(merged))
    (inner, i), (middle, m), (_, o) = merged
    return middle, inner, list(zip(o, m, i, strict=True))


def merge_dimensions(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> list[tuple[int, tuple[int, ...]]]:
    """Sizes and each operand's steps, innermost first, with as few dimensions as there can be."""
    merged: list[tuple[int, tuple[int, ...]]] = []
    for dimension in range(len(shape) - 1, -1, -1):
        size, steps = shape[dimension], tuple(s[dimension] for s in strides)
        if size == 1:
            continue
        if merged and all(
            outer == inner * merged[-1][0]
            for outer, inner in zip(steps, merged[-1][1], strict=True)
        ):
            merged[-1] = (merged[-1][0] * size, merged[-1][1])
        else:
            merged.append((size, steps))
    return merged
