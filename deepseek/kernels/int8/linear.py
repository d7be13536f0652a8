"""Linear layers with quantized weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.errors import InputError
from deepseek.kernels.gemm.api import linear

if TYPE_CHECKING:
    from torch import Tensor

    from deepseek.kernels.gemm.layout import PackedWeight

__all__ = ["linear_int8", "linear_weight_only"]


def linear_int8(
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """``act(q(x) @ weight.T + bias) * multiply + residual`` with int8 products.

    Every row of x is quantized as the weight was packed for. Sums are exact in 32 bits, whatever
    the processor; they are multiplied with the scales of row and column in fp32. A row of x with a
    NaN or an infinity gives a row of NaN before the epilogue.

    Args:
        x: ``(..., K)``, fp32 or bf16, any strides.
        weight: From :func:`~deepseek.kernels.int8.pack_int8`.
        bias: ``(N)``.
        activation: ``relu``, ``gelu``, ``gelu_tanh`` or ``silu``.
        residual: ``(..., N)``, added last.
        multiply: ``(..., N)``, what the activated product is multiplied with.
        out: Where the result goes, fp32 or bf16; may be any of the operands.

    Returns:
        ``(..., N)``: ``out``, or a new tensor of the dtype of ``x``.

    Raises:
        InputError: A shape, dtype or device does not fit.
    """
    if weight.rounding not in ("symmetric", "asymmetric"):
        raise InputError("expected a weight from pack_int8, got one from another function")
    return linear(x, weight, bias, activation, residual, multiply, out)


def linear_weight_only(
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """``act(x @ weight.T + bias) * multiply + residual`` with a weight of 4 or 8 bits.

    The activations keep 16 bits: each group of them, as long as the groups of the weight, is
    rounded to steps of a 32767th of its greatest magnitude, which is finer than bf16 for all but
    values below a 128th of that. The products of a group are exact integers; groups are added up
    in fp32. A NaN or an infinity in a row of x gives a row of NaN before the epilogue.

    Args:
        x: ``(..., K)``, fp32 or bf16, any strides.
        weight: From :func:`~deepseek.kernels.int8.pack_weight_only` or
            :func:`~deepseek.kernels.int8.pack_groups`.
        bias: ``(N)``.
        activation: ``relu``, ``gelu``, ``gelu_tanh`` or ``silu``.
        residual: ``(..., N)``, added last.
        multiply: ``(..., N)``, what the activated product is multiplied with.
        out: Where the result goes, fp32 or bf16; may be any of the operands.

    Returns:
        ``(..., N)``: ``out``, or a new tensor of the dtype of ``x``.

    Raises:
        InputError: A shape, dtype or device does not fit.
    """
    if weight.rounding != "blocks":
        raise InputError("expected a weight from pack_weight_only, got one from another function")
    return linear(x, weight, bias, activation, residual, multiply, out)
