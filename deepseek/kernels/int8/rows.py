"""Activations as integers, by the kernel that quantizes them for a product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.calls import DTYPES
from deepseek.kernels.gemm.operands import row_stride, rows
from deepseek.kernels.gemm.quantize import row_pitch, row_quantizer
from deepseek.kernels.gemm.spec import HEADER, LEAD, ROUNDINGS, int8_format
from deepseek.kernels.int8.pack import INT8_ROUNDINGS
from deepseek.kernels.target import current

if TYPE_CHECKING:
    from deepseek.kernels.target import Target

__all__ = ["quantize_rows"]

_STORED = {"uint8": torch.uint8, "int8": torch.int8, "int16": torch.int16}


def quantize_rows(
    x: Tensor, rounding: str = "symmetric", target: Target | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Round activations to 8-bit integers, a scale a row.

    The formulas are those of :mod:`deepseek.kernels.gemm.rows`. A row with a NaN or an infinity has
    NaN for its scale, and its integers mean nothing.

    Args:
        x: ``(..., K)``, fp32 or bf16, any strides.
        rounding: ``symmetric``, or ``asymmetric`` with a zero point.
        target: The processor to make code for; the process's target unless given.

    Returns:
        Integers, int8 of the shape of x; scales, fp32, and zero points, int32,
        ``(..., 1)``: a number is ``(integer - zero point) * scale``.

    Raises:
        InputError: The dtype or name is none of these.
    """
    if rounding not in INT8_ROUNDINGS:
        raise InputError(f"expected a rounding of {INT8_ROUNDINGS}, got {rounding!r}")
    if x.dtype not in DTYPES or not x.dim():
        raise InputError(f"expected `x` of float32 or bfloat16 and shape (..., K), got {x.dtype} "
                         f"of {tuple(x.shape)}")  # fmt: skip
    if not x.is_cpu:
        raise InputError(f"expected `x` on the CPU, got {x.device}")
    chosen = target or current()
    scheme, kind = int8_format(chosen), ROUNDINGS[rounding]
    matrix = rows(x.detach())
    stride = row_stride(matrix)
    assert stride is not None
    count, pitch = matrix.shape[0], row_pitch(scheme, matrix.shape[1])
    memory = row_quantizer(chosen, scheme, rounding, matrix, stride)(matrix)
    packed = memory[: count * pitch].view(count, pitch)[:, LEAD:].clone()

    k, stored = x.shape[-1], _STORED[scheme.x]
    offset = kind.offset(scheme.x)
    scales = packed[:, :4].contiguous().view(torch.float32)
    shifts = packed[:, 4:HEADER].contiguous().view(torch.int32)
    values = packed[:, HEADER : HEADER + k * stored.itemsize].contiguous().view(stored)
    integers = values.int() - offset if offset else values
    one = (*x.shape[:-1], 1)
    return integers.to(torch.int8).view(x.shape), scales.view(one), (shifts - offset).view(one)
