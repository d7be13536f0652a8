"""What the quantized kernels compute, in plain PyTorch."""

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.gemm.quantized import QuantizedWeight
from deepseek.kernels.gemm.reference import epilogue_reference
from deepseek.kernels.gemm.spec import ROUNDINGS

__all__ = ["quantize_rows_reference", "quantized_linear_reference"]


def quantize_rows_reference(
    x: Tensor, rounding: str = "symmetric", group_size: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Activations as integers; :mod:`deepseek.kernels.gemm.rows` tells the formulas.

    Args:
        x: ``(..., K)``, fp32 or bf16.
        rounding: ``symmetric``, ``asymmetric`` or ``blocks``.
        group_size: Of ``blocks``: how many values share a scale.

    Returns:
        Integers, int32 of the shape of x; scales, fp32, and zero points, int32, each ``(..., 1)``
        or ``(..., groups)``. The scale is NaN where a number is not finite, and the integers there
        mean nothing.
    """
    if rounding not in ROUNDINGS:
        raise InputError(f"expected a rounding of {tuple(ROUNDINGS)}, got {rounding!r}")
    kind = ROUNDINGS[rounding]
    dtype = x.dtype if kind.in_dtype else torch.float32
    k, size = x.shape[-1], group_size if kind.grouped and group_size else max(1, x.shape[-1])
    padded = torch.nn.functional.pad(x.to(dtype), (0, -k % size if k else size))
    groups = padded.reshape(*x.shape[:-1], padded.shape[-1] // size, size)
    least, most = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    steps = kind.highest - kind.lowest
    if kind.one_sided:
        scales = (most - least) / steps
    else:
        scales = torch.maximum(-least, most) / (steps / 2)
    scales = torch.where(scales == 0, torch.finfo(dtype).eps, scales)
    scales = torch.where(scales.isfinite(), scales, torch.nan)
    zeros = torch.zeros_like(scales)
    if kind.one_sided:
        zeros = (kind.lowest - least / scales).clamp(kind.lowest, kind.highest).round()
    quotients = groups / scales[..., None] + zeros[..., None]
    integers = quotients.clamp(kind.lowest, kind.highest).round().nan_to_num().int()
    return integers.flatten(-2)[..., :k], scales.float(), zeros.nan_to_num().int()


def quantized_linear_reference(
    x: Tensor,
    weight: QuantizedWeight,
    rounding: str,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
) -> Tensor:
    """``act(q(x) @ weight.T + bias) * multiply + residual``, ``q`` rounding x.

    With ``symmetric`` and ``asymmetric`` the sums of products are exact integers; with ``blocks``
    the rounded activations are multiplied with the numbers of the weight in fp64. What follows is
    done in fp32.
    """
    groups = weight.group_size if rounding == "blocks" else None
    integers, scales, zeros = quantize_rows_reference(x, rounding, groups)
    if groups is None:
        sums = (integers - zeros).double() @ weight.integers.double().T
        y = sums.float() * scales * weight.scales.float().squeeze(-1)
    else:
        wide = scales.repeat_interleave(groups, dim=-1)[..., : x.shape[-1]]
        y = ((integers * wide.double()) @ weight.numbers().double().T).float()
    return epilogue_reference(y, bias, activation, residual, multiply, torch.float32)
