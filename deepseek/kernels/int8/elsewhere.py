"""Quantized linear layers on devices that no kernel is made for, by torch's own operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from deepseek.kernels.gemm.reference import epilogue_reference, linear_reference
from deepseek.kernels.int8.reference import quantize_rows_reference

if TYPE_CHECKING:
    from deepseek.kernels.gemm.quantized import QuantizedWeight

__all__ = ["quantized_linear_by_torch"]


def quantized_linear_by_torch(
    x: Tensor,
    weight: QuantizedWeight,
    rounding: str,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
) -> Tensor:
    """What the kernels compute; a weight that alone is quantized is widened to the dtype of x."""
    if rounding == "blocks":
        numbers = weight.numbers()
        return linear_reference(x, numbers, bias, activation, residual, multiply, precision=x.dtype)
    integers, scales, zeros = quantize_rows_reference(x, rounding)
    rows = integers.to(torch.int8).flatten(end_dim=-2)
    sums = _integer_product(rows, weight.integers).view(*x.shape[:-1], -1)
    sums = sums - zeros * weight.integers.sum(1, dtype=torch.int32)
    y = sums.float() * scales * weight.scales.float().squeeze(-1)
    return epilogue_reference(y, bias, activation, residual, multiply, torch.float32).to(x.dtype)


def _integer_product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T`` in int32; cuBLAS wants more than 16 rows, and all sizes in eights."""
    (m, k), n = a.shape, b.shape[0]
    a = pad(a, (0, -k % 8, 0, max(24 - m, -m % 8)))
    b = pad(b, (0, -k % 8, 0, -n % 8))
    return torch._int_mm(a, b.t())[:m, :n]  # noqa: SLF001 - torch has no other name for it
