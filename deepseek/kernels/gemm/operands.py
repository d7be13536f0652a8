"""Tensors as the kernels need them: what fits, what must be laid out anew."""

from collections.abc import Hashable
from math import prod

from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.calls import DTYPES
from deepseek.kernels.gemm.layout import PackedWeight
from deepseek.kernels.gemm.spec import ACTIVATIONS, COARSE

__all__ = ["check_operand", "form", "linear_shape", "row_stride", "rows"]


def linear_shape(
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
) -> tuple[int, ...]:
    """The shape of a linear layer's result, after everything given has been found to fit.

    Raises:
        InputError: It does not.
    """
    if x.dtype not in DTYPES:
        raise InputError(f"expected `x` of float32 or bfloat16, got {x.dtype}")
    if not x.dim() or x.shape[-1] != weight.depth:
        raise InputError(f"expected `x` of shape (..., {weight.depth}), got {tuple(x.shape)}")
    if activation is not None and activation not in (*ACTIVATIONS, *COARSE.values()):
        raise InputError(f"expected an activation of {ACTIVATIONS}, got {activation!r}")
    shape = (*x.shape[:-1], weight.features)
    for name, operand, expected in (
        ("bias", bias, (weight.features,)),
        ("residual", residual, shape),
        ("multiply", multiply, shape),
    ):
        if operand is not None:
            check_operand(name, operand, expected)
    return shape


def check_operand(name: str, operand: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse an operand of another shape, or of a dtype that kernels do not read.

    Raises:
        InputError: It has.
    """
    if operand.shape != shape:
        raise InputError(f"expected `{name}` of shape {shape}, got {tuple(operand.shape)}")
    if operand.dtype not in DTYPES:
        raise InputError(f"expected `{name}` of float32 or bfloat16, got {operand.dtype}")


def form(operand: Tensor | None) -> Hashable:
    """What a prepared call depends on: all of a tensor but its address and content."""
    return None if operand is None else (operand.dtype, operand.shape, operand.stride())


def row_stride(operand: Tensor | None) -> int | None:
    """Elements from one row to the next if rows are contiguous and evenly spaced, else None."""
    if operand is None:
        return 0
    if operand.is_contiguous():
        return operand.shape[-1]
    if operand.dim() == 2 and (operand.stride(1) == 1 or operand.shape[1] == 1):
        return operand.stride(0)
    return None


def rows(operand: Tensor) -> Tensor:
    """The operand as a matrix with contiguous rows: a view where it can be one, else a copy."""
    matrix = operand.reshape(prod(operand.shape[:-1]), operand.shape[-1])
    return matrix if row_stride(matrix) is not None else matrix.contiguous()
