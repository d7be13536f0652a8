"""From weights to packed weights: 8 bits a row, 4 or 8 bits in groups.

The scales of 4-bit groups are kept in bf16, which is what a quarter of the memory would go to
otherwise; :func:`quantize_groups` rounds a scale before it divides by it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.gemm.layout import PackedWeight
from deepseek.kernels.gemm.quantize import row_pitch, row_quantizer
from deepseek.kernels.gemm.quantized import INT8_WORDS, QuantizedWeight, int8_panels, write_panels
from deepseek.kernels.gemm.spec import (
    FORMATS,
    GROUP_SIZES,
    HEADER,
    LEAD,
    grouped_name,
    int8_format,
    tile_for,
)
from deepseek.kernels.target import current

if TYPE_CHECKING:
    from deepseek.kernels.target import Target

__all__ = [
    "INT8_ROUNDINGS", "LONGEST_SUM", "pack_groups", "pack_int8", "pack_weight_only",
    "quantize_groups", "quantize_int8",
]  # fmt: skip

INT8_ROUNDINGS = ("symmetric", "asymmetric")
"""How activations can be quantized for int8 weights."""

LONGEST_SUM = ((1 << 31) - 1) // (255 * 128)
"""So many products of u8 and s8 fit in 32 bits: the most columns of an int8 weight."""

_SCALES = {4: torch.bfloat16, 8: torch.float32}


def pack_int8(
    weight: Tensor, scales: Tensor, rounding: str = "symmetric", target: Target | None = None
) -> PackedWeight:
    """Lay out an int8 weight for :func:`~deepseek.kernels.int8.linear_int8`.

    Args:
        weight: ``(N, K)``, int8; K at most 65793, so that 32 bits hold every sum.
        scales: ``(N)`` or ``(N, 1)``: what a step of each row is.
        rounding: How activations will be quantized, ``symmetric`` or ``asymmetric``
            (see :mod:`deepseek.kernels.gemm.rows`).
        target: The processor to pack for; the process's target unless given.

    Raises:
        InputError: A shape, dtype or name is none of these.
    """
    _check_matrix("weight", weight, torch.int8)
    n, k = weight.shape
    _check_int8(k, rounding)
    if scales.shape not in ((n,), (n, 1)) or not scales.is_floating_point():
        raise InputError(
            f"expected floating-point scales of shape ({n},) or ({n}, 1), got {scales.dtype} of "
            f"{tuple(scales.shape)}"
        )
    chosen = target or current()
    quantized = QuantizedWeight(
        integers=weight.detach(), scales=scales.detach().reshape(n, 1), zeros=None, group_size=k
    )
    return _packed(quantized, int8_format(chosen).name, rounding, chosen)


def quantize_int8(
    weight: Tensor, rounding: str = "symmetric", target: Target | None = None
) -> PackedWeight:
    """Round a weight to int8 with one scale a row, ``max|w| / 127``, and lay it out.

    What :func:`deepseek.nn.int8_arithmetic.quantize_weight` and :func:`pack_int8` make of it, bit
    for bit, in a third of the time; but a row with a number that is not finite has a scale of NaN.

    Args:
        weight: ``(N, K)``, fp32; K at most 65793.
        rounding: How activations will be quantized, as :func:`pack_int8` has it.
        target: The processor to pack for; the process's target unless given.

    Raises:
        InputError: A shape, dtype or name is none of these.
    """
    _check_matrix("weight", weight, torch.float32)
    _check_int8(weight.shape[1], rounding)
    chosen = target or current()
    scheme, stored = int8_format(chosen), FORMATS["s8s8"]
    dense = weight.detach() if weight.stride(-1) == 1 else weight.detach().contiguous()
    n, k = dense.shape
    pitch, steps = row_pitch(stored, k), scheme.steps(k)[0]
    packed = row_quantizer(chosen, stored, "weight", dense, dense.stride(0))(dense)
    rows = packed[: n * pitch].view(n, pitch)
    header, begin = rows[:, LEAD : LEAD + HEADER].view(torch.float32), LEAD + HEADER
    words = rows[:, begin : begin + steps * scheme.group].view(INT8_WORDS[scheme.group])
    panels = int8_panels(words, header[:, :1], header[:, 1:], tile_for(chosen).columns)
    return PackedWeight(panels, n, k, chosen, scheme.name, rounding)


def pack_weight_only(
    weight: Tensor,
    bits: int = 4,
    group_size: int = 128,
    *,
    zeros: bool = False,
    target: Target | None = None,
) -> PackedWeight:
    """Quantize a weight in groups and lay it out for :func:`~.linear_weight_only`.

    Args:
        weight: ``(N, K)``, any floating type; finite.
        bits: 4 or 8.
        group_size: How many values along K share a scale: 32, 64 or 128.
        zeros: Give each group a zero point; for 4 bits only.
        target: The processor to pack for; the process's target unless given.

    Raises:
        InputError: An argument is none of these.
    """
    return pack_groups(quantize_groups(weight, bits, group_size, zeros=zeros), bits, target)


def pack_groups(weight: QuantizedWeight, bits: int, target: Target | None = None) -> PackedWeight:
    """Lay out a weight that is quantized in groups already.

    Args:
        weight: Integers from 0 to 15 with zero points or from -8 to 7 without at 4 bits, from -128
            to 127 without zero points at 8. Scales and zero points are rounded to bf16 at 4 bits.
            Scales ``(N, 1)`` count for all groups of a row.
        bits: 4 or 8.
        target: The processor to pack for; the process's target unless given.

    Raises:
        InputError: The weight is none of these.
    """
    _check_kind(bits, weight.group_size, zeros=weight.zeros is not None)
    _check_matrix("weight", weight.integers, torch.int8)
    n, k = weight.integers.shape
    groups = -(-k // weight.group_size)
    if weight.scales.shape == (n, 1):
        weight = replace(weight, scales=weight.scales.expand(n, groups))
    for name, values in (("scales", weight.scales), ("zeros", weight.zeros)):
        if values is not None and values.shape != (n, groups):
            raise InputError(f"expected {name} of {(n, groups)}, got {tuple(values.shape)}")
    low, high = _range(bits, zeros=weight.zeros is not None)
    if weight.integers.numel() and not (
        low <= weight.integers.min() and weight.integers.max() <= high
    ):
        raise InputError(f"expected integers from {low} to {high}, got others")
    chosen = target or current()
    name = grouped_name(bits, weight.group_size, zeros=weight.zeros is not None)
    return _packed(weight, name, "blocks", chosen)


def quantize_groups(
    weight: Tensor, bits: int = 4, group_size: int = 128, *, zeros: bool = False
) -> QuantizedWeight:
    """Round a weight to integers of few bits, a scale for each group of values along K.

    Without zero points a group reaches from -7.5 to 7.5 steps (4 bits) or from -127 to 127 (8);
    with them its 16 steps reach from its least value to its greatest, zero among them.

    Args:
        weight: ``(N, K)``, any floating type; finite.
        bits: 4 or 8.
        group_size: 32, 64 or 128.
        zeros: Give each group a zero point; for 4 bits only.

    Raises:
        InputError: An argument is none of these.
    """
    _check_kind(bits, group_size, zeros=zeros)
    if weight.dim() != 2 or not weight.is_floating_point():
        raise InputError(
            f"expected a floating-point weight of two dimensions, got {weight.dtype} of shape "
            f"{tuple(weight.shape)}"
        )
    n, k = weight.shape
    groups = torch.nn.functional.pad(weight.detach().float(), (0, -k % group_size))
    groups = groups.view(n, groups.shape[1] // group_size, group_size)
    if not groups.isfinite().all():
        raise InputError("expected a weight of finite numbers, got NaN or infinity among them")
    low, high = _range(bits, zeros=zeros)
    if bits == 8:
        low = -high
    least, most = groups.amin(-1).clamp(max=0.0), groups.amax(-1).clamp(min=0.0)
    if zeros:
        scales = most / high - least / high
    else:
        scales = torch.maximum(-least, most) / ((high - low) / 2)
    scales = scales.to(_SCALES[bits])
    scales = torch.where(scales == 0, torch.finfo(scales.dtype).tiny, scales)
    steps = groups / scales.float()[..., None]
    points = (-least / scales.float()).round().clamp(low, high) if zeros else None
    if points is not None:
        steps = steps + points[..., None]
    integers = steps.round().clamp(low, high).to(torch.int8).flatten(1)[:, :k]
    return QuantizedWeight(
        integers=integers.contiguous(), scales=scales, zeros=points, group_size=group_size
    )


def _range(bits: int, *, zeros: bool) -> tuple[int, int]:
    if zeros:
        return 0, 15
    return (-8, 7) if bits == 4 else (-128, 127)


def _packed(
    weight: QuantizedWeight, format_name: str, rounding: str, target: Target
) -> PackedWeight:
    panels = write_panels(weight, format_name, tile_for(target).columns)
    n, k = weight.integers.shape
    return PackedWeight(panels, n, k, target, format_name, rounding)


def _check_matrix(name: str, matrix: Tensor, dtype: torch.dtype) -> None:
    if matrix.dim() != 2 or matrix.dtype != dtype:
        raise InputError(
            f"expected a {name} of {dtype} with two dimensions, got {matrix.dtype} of shape "
            f"{tuple(matrix.shape)}"
        )


def _check_int8(k: int, rounding: str) -> None:
    if k > LONGEST_SUM:
        raise InputError(f"expected a weight of at most {LONGEST_SUM} columns, got {k}")
    if rounding not in INT8_ROUNDINGS:
        raise InputError(f"expected a rounding of {INT8_ROUNDINGS}, got {rounding!r}")


def _check_kind(bits: int, group_size: int, *, zeros: bool) -> None:
    if bits not in _SCALES:
        raise InputError(f"expected 4 or 8 bits, got {bits}")
    if group_size not in GROUP_SIZES:
        raise InputError(f"expected a group size of {GROUP_SIZES}, got {group_size}")
    if zeros and bits != 4:
        raise InputError(f"expected no zero points at {bits} bits")
