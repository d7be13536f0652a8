"""The linear layer as a function: checks, the choice of a kernel, one call of it.

What a call needs follows from the forms of its tensors and the kind of its weight alone. It is
prepared when they are first seen and found again in a dictionary, because on a small product the
checks would take longer than the kernel.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels import amx
from deepseek.kernels.calls import DTYPES, keep, needs_torch
from deepseek.kernels.gemm.operands import (
    check_operand,
    form,
    linear_shape,
    row_stride,
    rows,
)
from deepseek.kernels.gemm.plan import plan_product
from deepseek.kernels.gemm.quantize import row_pitch, row_quantizer
from deepseek.kernels.gemm.spec import (
    HEADER,
    LEAD,
    SIZES,
    TILE_ROWS,
    Epilogue,
    Format,
    GroupedFormat,
    tall_tile_for,
    tile_for,
)
from deepseek.kernels.memory import empty

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepseek.kernels.emit import Module
    from deepseek.kernels.gemm.layout import PackedWeight
    from deepseek.kernels.jit import Kernel
    from deepseek.kernels.target import Target

__all__ = ["linear"]


def linear(
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """``act(x @ weight.T + bias) * multiply + residual``, in one pass.

    fp32 activations are multiplied in fp32, whatever the weight is stored in. bf16 activations with
    a bf16 weight use the processor's bf16 products where it has them, else fp32. Sums are fp32.

    Args:
        x: ``(..., K)``, fp32 or bf16, any strides.
        weight: From :func:`~deepseek.kernels.gemm.pack_weight`.
        bias: ``(N)``.
        activation: ``relu``, ``gelu``, ``gelu_tanh`` or ``silu``. Results that are rounded to bf16
            have the last three within 2e-4 of their value, 9e-5 near zero; so have ``gelu_coarse``,
            ``gelu_tanh_coarse`` and ``silu_coarse`` whatever the dtype.
        residual: ``(..., N)``, added last.
        multiply: ``(..., N)``, what the activated product is multiplied with.
        out: Where the result goes, fp32 or bf16; may be ``residual`` or ``multiply``, not ``x``.

    Returns:
        ``(..., N)``: ``out``, or a new tensor of the dtype of ``x``.

    Raises:
        InputError: A shape, dtype or device does not fit.
    """
    if needs_torch(x, bias, residual, multiply):
        return _dispatched(x, weight, bias, activation, residual, multiply, out)
    threads = torch.get_num_threads()
    key = (form(x), form(bias), activation, form(residual), form(multiply), form(out), threads)
    call = weight.calls.get(key)
    if call is None:
        prepared = _prepare(x, weight, bias, activation, residual, multiply, out, threads)
        call = keep(weight.calls, key, prepared)
    return call(weight, x, bias, residual, multiply, out)


def _dispatched(
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None,
    activation: str | None,
    residual: Tensor | None,
    multiply: Tensor | None,
    out: Tensor | None,
) -> Tensor:
    y = weight.dispatch(x, bias, activation, residual, multiply)
    return y if out is None else out.copy_(y)


def _prepare(
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None,
    activation: str | None,
    residual: Tensor | None,
    multiply: Tensor | None,
    out: Tensor | None,
    threads: int,
) -> Callable[..., Tensor]:
    """Check operands of these forms, and find out how to run them.

    Returns:
        A function of ``(weight, x, bias, residual, multiply, out)``, for a weight of the same kind
        and operands of the same forms.
    """
    shape = linear_shape(x, weight, bias, activation, residual, multiply)
    if out is not None:
        check_operand("out", out, shape)
    if 0 in shape:
        return lambda _, x, *operands: x.new_empty(shape) if operands[-1] is None else operands[-1]

    scheme = weight.format_for(x.dtype)
    strides = [row_stride(operand) for operand in (x, out, multiply, residual)]
    known = [stride for stride in strides if stride is not None]
    flat_bias = bias is None or bias.is_contiguous()
    fits = scheme.quantized or DTYPES[x.dtype] == scheme.x
    if len(known) < len(strides) or not fits or not flat_bias:
        return _laid_out_anew(activation, shape)

    epilogue = Epilogue(
        DTYPES[x.dtype if out is None else out.dtype],
        activation,
        *(None if operand is None else DTYPES[operand.dtype]
          for operand in (bias, multiply, residual)),
    )  # fmt: skip
    if out is None:
        known[1] = weight.features
    quantize = None
    if scheme.quantized:
        quantize = row_quantizer(weight.target, scheme, weight.rounding, x, known[0])
        known[0] = row_pitch(scheme, weight.depth) // SIZES[scheme.x]
    return _direct(weight, scheme, epilogue, shape, known, prod(shape[:-1]), threads, quantize)


def _laid_out_anew(activation: str | None, shape: tuple[int, ...]) -> Callable[..., Tensor]:
    """A call whose operands are first brought into a form that a kernel takes."""

    def call(
        weight: PackedWeight,
        x: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        multiply: Tensor | None,
        out: Tensor | None,
    ) -> Tensor:
        result = x.new_empty(shape) if out is None else out
        matrix = rows(result)
        scheme = weight.format_for(x.dtype)
        linear(
            rows(x if scheme.quantized or scheme.x == DTYPES[x.dtype] else x.float()),
            weight,
            None if bias is None else bias.contiguous(),
            activation,
            None if residual is None else rows(residual),
            None if multiply is None else rows(multiply),
            matrix,
        )
        if matrix.data_ptr() != result.data_ptr():
            result.copy_(matrix.view(shape))
        return result

    return call


def _direct(
    weight: PackedWeight,
    scheme: Format,
    epilogue: Epilogue,
    shape: tuple[int, ...],
    strides: list[int],
    m: int,
    threads: int,
    quantize: Callable[[Tensor], Tensor] | None,
) -> Callable[..., Tensor]:
    """A call that hands the operands' addresses to the kernel as they are, or x quantized."""
    from deepseek.kernels.gemm.driver import ARGUMENTS
    from deepseek.kernels.parallel import run

    target = weight.target
    tiled = tall_tile_for(target, scheme, m, weight.depth)
    if tiled is not None and not amx.allowed():
        tiled = None
    tile = tiled or tile_for(target)
    plan = plan_product(scheme, tile, m, weight.features, weight.depth, threads)
    heights = (plan.height, plan.height + bool(plan.tall))
    tile_height = _tile_height(*heights) if tiled else 0
    kernel, short, tall = _kernels(target, scheme, epilogue, heights, tile_height)
    pack = ARGUMENTS.bind(short.address, tall.address, tile_height, *strides, *plan.arguments())
    units, chunk = plan.units, plan.chunk
    header = LEAD + HEADER if scheme.quantized else 0

    def call(
        weight: PackedWeight,
        x: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        multiply: Tensor | None,
        out: Tensor | None,
    ) -> Tensor:
        source = x if quantize is None else quantize(x)
        address = source.data_ptr() + header
        if out is None:
            out = empty(shape, x.dtype)
        elif out.data_ptr() == address:
            raise InputError("expected `out` apart from `x`, got the same memory")
        arguments = pack(
            address,
            weight.panels.data_ptr(),
            out.data_ptr(),
            0 if bias is None else bias.data_ptr(),
            0 if multiply is None else multiply.data_ptr(),
            0 if residual is None else residual.data_ptr(),
        )
        run(kernel, arguments, units, chunk)
        return out

    return call


def _tile_height(low: int, high: int) -> int:
    """How high AMX's tiles are, so that one or two cover panels of ``low`` and of ``high`` rows."""
    return low if high <= TILE_ROWS else -(-high // 2)


@cache
def _kernels(
    target: Target, scheme: Format, epilogue: Epilogue, heights: tuple[int, int], tile_height: int
) -> tuple[Kernel, Kernel, Kernel]:
    """The linear kernel and its microkernels of two numbers of rows."""
    from deepseek.kernels.gemm.driver import build_linear
    from deepseek.kernels.gemm.grouped import build_grouped_microkernel
    from deepseek.kernels.gemm.microkernel import build_microkernel
    from deepseek.kernels.gemm.tiles import build_tiled_microkernel
    from deepseek.kernels.jit import kernel

    build: Callable[..., Module] = build_microkernel
    options: tuple[int, ...] = ()
    if tile_height:
        build, options = build_tiled_microkernel, (tile_height,)
    elif isinstance(scheme, GroupedFormat):
        build = build_grouped_microkernel
    short, tall = (kernel(build, scheme.name, rows, *options, target=target) for rows in heights)
    return kernel(build_linear, scheme.name, epilogue, target=target), short, tall
