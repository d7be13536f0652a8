"""Softmax and log-softmax as functions, with the scale, bias and mask of attention."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.kernels.calls import DTYPES, MASKS, is_small, keep, needs_torch
from deepseek.kernels.gemm.operands import form
from deepseek.kernels.memory import empty
from deepseek.kernels.rows.operands import check_softmax, levels, name_of, result_dtype
from deepseek.kernels.rows.spec import SCRATCH, SoftmaxForm, chunk_for, streams
from deepseek.kernels.target import current

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from deepseek.kernels.target import Target

__all__ = ["log_softmax", "run_softmax", "softmax"]


_FEW = 1 << 14  # scores: there a kernel, called in 5 us, overtakes an operator called in 2


def softmax(
    x: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float = 1.0,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """``softmax(x * scale + bias + mask)`` over the last dimension, in one pass, in fp32.

    As in torch, a row whose scores are all -infinity becomes NaN, and so does one with a NaN. Of
    fewer than 16,384 scores, without mask, bias and scale, torch's own operator is faster to call
    and is called.

    Args:
        x: ``(..., width)``, fp32 or bf16, any strides.
        mask: Broadcast to ``x``. Where bool, False hides a score; fp32 and bf16 are added. Rows of
            ``(B, H, N, M)`` with a mask of padded keys have one of ``(B, 1, 1, M)``.
        bias: Broadcast to ``x``, fp32 or bf16.
        scale: What ``x`` is multiplied with.
        out_dtype: fp32 or bf16; that of ``x`` unless given.

    Returns:
        ``(..., width)``, contiguous.

    Raises:
        InputError: A shape, dtype or device does not fit.
    """
    if _is_plain(mask, bias, scale, out_dtype) and is_small(x, _FEW):
        return torch.softmax(x, -1)
    if needs_torch(x, mask, bias):
        from deepseek.kernels.rows import ops

        y: Tensor = ops.softmax(x, mask, bias, scale, out_dtype)
        return y
    return run_softmax(False, x, mask, bias, scale, out_dtype)


def log_softmax(
    x: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float = 1.0,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """The logarithm of :func:`softmax`."""
    if _is_plain(mask, bias, scale, out_dtype) and is_small(x, _FEW):
        return torch.log_softmax(x, -1)
    if needs_torch(x, mask, bias):
        from deepseek.kernels.rows import ops

        y: Tensor = ops.log_softmax(x, mask, bias, scale, out_dtype)
        return y
    return run_softmax(True, x, mask, bias, scale, out_dtype)


def _is_plain(
    mask: Tensor | None, bias: Tensor | None, scale: float, out_dtype: torch.dtype | None
) -> bool:
    return mask is None and bias is None and scale == 1.0 and out_dtype is None


_calls: dict[Hashable, Callable[..., Tensor]] = {}


def run_softmax(
    logarithm: bool,
    x: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    scale: float,
    out_dtype: torch.dtype | None,
    target: Target | None = None,
) -> Tensor:
    """Softmax or its logarithm, by our kernel."""
    key = (form(x), form(mask), form(bias), logarithm, scale, out_dtype, target)
    call = _calls.get(key)
    if call is None:
        options = (logarithm, scale, out_dtype, target)
        call = keep(_calls, key, _prepare(x, mask, bias, *options))
    return call(x, mask, bias)


def _prepare(
    x: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    logarithm: bool,
    scale: float,
    out_dtype: torch.dtype | None,
    target: Target | None,
) -> Callable[..., Tensor]:
    """Check operands of these looks, and find out how to run them.

    Returns:
        A function of ``(x, mask, bias)``, for operands of the same looks.
    """
    check_softmax(x, mask, bias)
    out = result_dtype(x.dtype, out_dtype)
    if not x.numel():
        return lambda x, *_: x.new_empty(x.shape, dtype=out)
    shape = x.shape
    views = [None if y is None else y.expand(shape) for y in (x, mask, bias)]
    lengths = [(0,) * len(shape) if view is None else view.stride() for view in views]
    found = levels(shape[:-1], [strides[:-1] for strides in lengths])
    gapless = all(view is None or view.stride(-1) == 1 or shape[-1] == 1 for view in views)
    if found is None or not gapless:
        return _laid_out_anew(logarithm, scale, out_dtype, target)

    from deepseek.kernels.jit import kernel
    from deepseek.kernels.parallel import run
    from deepseek.kernels.rows.softmax_kernel import ARGUMENTS, build_softmax

    middle, inner, strides = found
    units, chunk = prod(shape[:-1]), chunk_for(shape[-1])
    target = target or current()
    streamed = logarithm and streams(x.numel() * out.itemsize, shape[-1], target.lanes)
    held = None if logarithm else _where_held(out, shape[-1])
    compiled = kernel(
        build_softmax,
        SoftmaxForm(
            DTYPES[x.dtype], DTYPES[out], None if mask is None else MASKS[mask.dtype],
            name_of(bias), scale != 1.0, logarithm, held, streamed,
        ),
        target=target,
    )  # fmt: skip
    pack = ARGUMENTS.bind(scale, shape[-1], middle, inner, *(s for each in strides for s in each))

    def call(x: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        y = empty(shape, out)
        arguments = pack(
            x.data_ptr(),
            0 if mask is None else mask.data_ptr(),
            0 if bias is None else bias.data_ptr(),
            y.data_ptr(),
        )
        run(compiled, arguments, units, chunk)
        return y

    return call


def _where_held(out: torch.dtype, width: int) -> str | None:
    """Where a row's exponentials wait for their sum: bf16 would round them once more."""
    if out == torch.float32:
        return "out"
    return "scratch" if width <= SCRATCH else None


def _laid_out_anew(logarithm: bool, *options: Any) -> Callable[..., Tensor]:
    """A call whose operands are first brought into a form that the kernel takes."""

    def call(x: Tensor, *others: Tensor | None) -> Tensor:
        mask, bias = (None if y is None else y.expand(x.shape).contiguous() for y in others)
        return run_softmax(logarithm, x.contiguous(), mask, bias, *options)

    return call
