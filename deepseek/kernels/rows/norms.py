"""Layer norm and RMS norm as functions, with what surrounds them in a model."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.kernels.calls import DTYPES, is_small, keep, needs_torch
from deepseek.kernels.gemm.operands import form, row_stride, rows
from deepseek.kernels.memory import empty
from deepseek.kernels.rows.operands import check_norm, name_of, result_dtype, sum_dtype
from deepseek.kernels.rows.spec import NormForm, chunk_for, streams
from deepseek.kernels.target import current

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from deepseek.kernels.target import Target

__all__ = ["add_layer_norm", "add_rms_norm", "layer_norm", "rms_norm", "run_norm"]


_FEW = 1 << 17  # elements: below, a kernel, called in 6 us, is no faster than one called in 3


def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    residual: Tensor | None = None,
    activation: str | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """``act(normalized(x + residual) * weight + bias)`` over the last dimension, in one pass.

    Everything is computed in fp32, the variance about the mean; nothing is rounded in between. Of
    fewer than 131,072 elements, with nothing fused, torch's own operator is faster to call and is
    called.

    Args:
        x: ``(..., width)``, fp32 or bf16, any strides.
        weight: ``(width)``.
        bias: ``(width)``.
        eps: Added to the variance.
        residual: ``(..., width)``, as in blocks that normalize after adding.
        activation: ``relu``, ``gelu``, ``gelu_tanh`` or ``silu``.
        out_dtype: fp32 or bf16; that of ``x + residual`` unless given.

    Returns:
        ``(..., width)``, contiguous.

    Raises:
        InputError: A shape, dtype or device does not fit.
    """
    if residual is None and activation is None and out_dtype is None and is_small(x, _FEW):
        try:
            return torch.layer_norm(x, x.shape[-1:], weight, bias, eps)
        except RuntimeError:
            pass  # our kernel may take such operands, or else our checks say what is wrong
    if needs_torch(x, weight, bias, residual):
        from deepseek.kernels.rows import ops

        y: Tensor = ops.layer_norm(x, weight, bias, eps, residual, activation, out_dtype)
        return y
    return run_norm(True, False, x, weight, bias, eps, residual, activation, out_dtype)[0]


def rms_norm(
    x: Tensor,
    weight: Tensor | None = None,
    eps: float = 1e-6,
    residual: Tensor | None = None,
    activation: str | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """``act((x + residual) / rms(x + residual) * weight)``; otherwise as :func:`layer_norm`."""
    if needs_torch(x, weight, residual):
        from deepseek.kernels.rows import ops

        y: Tensor = ops.rms_norm(x, weight, eps, residual, activation, out_dtype)
        return y
    return run_norm(False, False, x, weight, None, eps, residual, activation, out_dtype)[0]


def add_layer_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    activation: str | None = None,
    out_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`layer_norm` of ``x + residual``, and the sum itself, as pre-norm blocks need both.

    The sum has the dtype that torch gives it; what is normalized is not rounded to that first.
    """
    if needs_torch(x, residual, weight, bias):
        from deepseek.kernels.rows import ops

        both: tuple[Tensor, Tensor] = ops.add_layer_norm(
            x, residual, weight, bias, eps, activation, out_dtype
        )
        return both
    return run_norm(True, True, x, weight, bias, eps, residual, activation, out_dtype)


def add_rms_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    eps: float = 1e-6,
    activation: str | None = None,
    out_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`rms_norm` of ``x + residual``, and the sum itself; as :func:`add_layer_norm`."""
    if needs_torch(x, residual, weight):
        from deepseek.kernels.rows import ops

        both: tuple[Tensor, Tensor] = ops.add_rms_norm(
            x, residual, weight, eps, activation, out_dtype
        )
        return both
    return run_norm(False, True, x, weight, None, eps, residual, activation, out_dtype)


_calls: dict[Hashable, Callable[..., tuple[Tensor, Tensor]]] = {}


def run_norm(
    centered: bool,
    summed: bool,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    residual: Tensor | None,
    activation: str | None,
    out_dtype: torch.dtype | None,
    target: Target | None = None,
) -> tuple[Tensor, Tensor]:
    """The normalized rows, and the sum of ``x`` and ``residual`` if ``summed``, else them again."""
    key = (
        form(x), form(weight), form(bias), form(residual),
        centered, summed, eps, activation, out_dtype, target,
    )  # fmt: skip
    call = _calls.get(key)
    if call is None:
        options = (centered, summed, eps, activation, out_dtype, target)
        call = keep(_calls, key, _prepare(x, weight, bias, residual, *options))
    return call(x, weight, bias, residual)


def _prepare(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    centered: bool,
    summed: bool,
    eps: float,
    activation: str | None,
    out_dtype: torch.dtype | None,
    target: Target | None,
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Check operands of these looks, and find out how to run them.

    Returns:
        A function of ``(x, weight, bias, residual)``, for operands of the same looks.
    """
    check_norm(x, weight, bias, residual, activation)
    total = sum_dtype(x, residual)
    out = result_dtype(total, out_dtype)
    if not x.numel():
        return lambda x, *_: (
            x.new_empty(x.shape, dtype=out),
            x.new_empty(x.shape, dtype=total),
        )
    strides = row_stride(x), row_stride(residual)
    even = all(operand is None or operand.is_contiguous() for operand in (weight, bias))
    if strides[0] is None or strides[1] is None or not even:
        return _laid_out_anew(x.shape, centered, summed, eps, activation, out_dtype, target)

    from deepseek.kernels.jit import kernel
    from deepseek.kernels.parallel import run
    from deepseek.kernels.rows.norm_kernel import ARGUMENTS, build_norm

    target = target or current()
    width = x.shape[-1]
    shape, units, chunk = x.shape, prod(x.shape[:-1]), chunk_for(width)
    compiled = kernel(
        build_norm,
        NormForm(
            centered, DTYPES[x.dtype], DTYPES[out], name_of(residual),
            DTYPES[total] if summed else None, name_of(weight), name_of(bias), activation,
            streams(x.numel() * out.itemsize, width, target.lanes),
        ),
        target=target,
    )  # fmt: skip
    pack = ARGUMENTS.bind(eps, width, strides[0], strides[1])

    def call(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        y = empty(shape, out)
        sums = empty(shape, total) if summed else y
        arguments = pack(
            x.data_ptr(),
            0 if residual is None else residual.data_ptr(),
            0 if weight is None else weight.data_ptr(),
            0 if bias is None else bias.data_ptr(),
            y.data_ptr(),
            sums.data_ptr(),
        )
        run(compiled, arguments, units, chunk)
        return y, sums

    return call


def _laid_out_anew(shape: torch.Size, centered: bool, summed: bool, *options: Any) -> Callable[
    ..., tuple[Tensor, Tensor]
]:  # fmt: skip
    """A call whose operands are first brought into a form that the kernel takes."""

    def call(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        eps, *others = options
        y, sums = run_norm(
            centered,
            summed,
            rows(x),
            None if weight is None else weight.contiguous(),
            None if bias is None else bias.contiguous(),
            eps,
            None if residual is None else rows(residual),
            *others,
        )
        return y.view(shape), sums.view(shape)

    return call
