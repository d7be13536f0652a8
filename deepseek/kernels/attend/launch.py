"""From tensors to one run of a kernel: operands packed, arguments filled in."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import inf
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.kernels import parallel
from deepseek.kernels.attend import backward, forward
from deepseek.kernels.attend import pack as packing
from deepseek.kernels.attend.operands import (
    DTYPES,
    Sizes,
    mask_view,
    result,
    sizes_of,
    with_dense_rows,
)
from deepseek.kernels.attend.scores import LOG2E
from deepseek.kernels.attend.spec import BLOCK, FEW, Form, padded
from deepseek.kernels.jit import Kernel, kernel
from deepseek.kernels.target import Target, current

if TYPE_CHECKING:
    from deepseek.kernels.attend.blocks import BlockLists

__all__ = ["run_backward", "run_forward"]

_WORTH_A_THREAD = 1 << 18  # multiply-adds: about 5 us on one core, a region costs 1.4 us
_UNITS_A_THREAD = 4  # to balance with when another program takes one of the cores


def run_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    lists: BlockLists | None = None,
    target: Target | None = None,
) -> tuple[Tensor, Tensor]:
    """The result and the log-sum-exp of an attention; see :func:`attention`."""
    sizes = sizes_of(q, k, v, mask)
    if lists is not None:
        lists.check(sizes)
    out = result(q, sizes.heads, sizes.queries, sizes.value_depth)
    lse = q.new_empty(sizes.scores[:3], dtype=torch.float32)
    if not lse.numel():
        return out, lse
    if not sizes.keys:
        return out.zero_(), lse.fill_(-inf)

    target = target or current()
    mask, mask_dtype = mask_view(mask, sizes)
    form = _form(q, sizes, mask_dtype, lists, target)
    q, k, v = (with_dense_rows(operand) for operand in (q, k, v))
    if sizes.queries <= FEW:
        form = replace(form, few=True)
        keys, values = k, v
    else:
        by_columns, by_rows = (
            _pack_kernel(target, form.dtype, width, form.block, transposed)
            for width, transposed in ((form.depth, True), (form.value_depth, False))
        )
        keys = _packed(k, by_columns, form.depth, form.block)
        values = _packed(v, by_rows, form.value_depth, form.block)
    query_blocks = -(-sizes.queries // form.block)
    arguments = forward.ARGUMENTS.pack(
        q.data_ptr(), keys.data_ptr(), values.data_ptr(), out.data_ptr(), lse.data_ptr(),
        *_common(sizes, form, q, mask, causal, scale, lists), *out.stride()[:3],
        *k.stride()[:3], *v.stride()[:3],
    )  # fmt: skip
    units = sizes.batch * sizes.heads * query_blocks
    work = min(form.block, sizes.queries) * sizes.keys * (sizes.depth + sizes.value_depth)
    chunk = max(1, _WORTH_A_THREAD // work)
    parallel.run(_forward_kernel(target, form), arguments, units, chunk)
    return out, lse


def _form(
    q: Tensor, sizes: Sizes, mask_dtype: str | None, lists: BlockLists | None, target: Target
) -> Form:
    return Form(
        DTYPES[q.dtype],
        padded(sizes.depth, target),
        padded(sizes.value_depth, target),
        BLOCK if lists is None else lists.block,
        mask_dtype,
        sparse=lists is not None,
    )


@cache
def _forward_kernel(target: Target, form: Form) -> Kernel:
    return kernel(forward.build_forward, form, target=target)


@cache
def _pack_kernel(target: Target, dtype: str, width: int, block: int, transposed: bool) -> Kernel:
    return kernel(packing.build_pack, dtype, width, block, transposed, target=target)


def _packed(rows: Tensor, run: Kernel, width: int, block: int) -> Tensor:
    """The blocks of ``(B, G, M, D)`` in a kernel's own layout."""
    batch, heads, length, depth = rows.shape
    blocks = -(-length // block)
    units = batch * heads * blocks
    packed = torch.empty(units, block, width)
    arguments = packing.ARGUMENTS.pack(
        rows.data_ptr(), packed.data_ptr(), heads, length, depth, blocks, *rows.stride()[:3]
    )
    parallel.run(run, arguments, units, max(1, _WORTH_A_THREAD // (4 * block * width)))
    return packed


def _common(
    sizes: Sizes,
    form: Form,
    q: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    lists: BlockLists | None,
) -> tuple[float, ...]:
    """The arguments that forward and backward share, from the mask to its strides."""
    chosen = sizes.depth**-0.5 if scale is None and sizes.depth else scale or 0.0
    starts = (0, 0) if lists is None else (lists.starts.data_ptr(), lists.indices.data_ptr())
    return (
        0 if mask is None else mask.data_ptr(), *starts, chosen * LOG2E,
        sizes.heads, sizes.group, sizes.queries, sizes.keys, sizes.depth, sizes.value_depth,
        sizes.keys + (1 - sizes.queries if causal else 0),
        -(-sizes.queries // form.block), -(-sizes.keys // form.block),
        *q.stride()[:3], *((0, 0, 0) if mask is None else mask.stride()[:3]),
        *((0, 0) if lists is None else lists.strides(sizes)),
    )  # fmt: skip


def run_backward(
    grad: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    lists: BlockLists | None = None,
    target: Target | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, from those of the result and of the log-sum-exp."""
    sizes = sizes_of(q, k, v, mask)
    if lists is not None:
        lists.check(sizes)
    dq = result(q, sizes.heads, sizes.queries, sizes.depth)
    if not lse.numel() or not sizes.keys:
        return dq.zero_(), torch.zeros_like(k), torch.zeros_like(v)
    delta = (grad.float() * out.float()).sum(-1)
    if grad_lse is not None:
        delta -= grad_lse

    target = target or current()
    mask, mask_dtype = mask_view(mask, sizes)
    form = _form(q, sizes, mask_dtype, lists, target)
    run = kernel(backward.build_backward, form, target=target)
    by_rows, by_columns, values_by_columns = (
        _pack_kernel(target, form.dtype, width, form.block, transposed)
        for width, transposed in ((form.depth, False), (form.depth, True), (form.value_depth, True))
    )
    grad, q, k, v = (with_dense_rows(operand) for operand in (grad.to(q.dtype), q, k, v))
    key_rows = _packed(k, by_rows, form.depth, form.block)
    key_columns = _packed(k, by_columns, form.depth, form.block)
    value_columns = _packed(v, values_by_columns, form.value_depth, form.block)

    kv = sizes.batch * sizes.kv_heads
    query_blocks, key_blocks = -(-sizes.queries // form.block), -(-sizes.keys // form.block)
    wanted = _UNITS_A_THREAD * parallel.threads() if parallel.threads() > 1 else 1
    shares = max(1, min(-(-wanted // kv), query_blocks))
    dk, dv = (
        torch.zeros(kv, shares, key_blocks * form.block, width)
        for width in (form.depth, form.value_depth)
    )
    arguments = backward.ARGUMENTS.pack(
        *(x.data_ptr() for x in (
            q, grad, lse, delta, key_rows, key_columns, value_columns, dq, dk, dv)),
        *_common(sizes, form, q, mask, causal, scale, lists),
        *grad.stride()[:3], *dq.stride()[:3], shares,
    )  # fmt: skip
    parallel.run(run, arguments, kv * shares)
    return dq, _summed(dk, k), _summed(dv, v)


def _summed(shares: Tensor, like: Tensor) -> Tensor:
    """The sum of all shares, without padding, in the shape and dtype of ``like``."""
    batch, heads, length, depth = like.shape
    whole = shares.sum(1) if shares.shape[1] > 1 else shares
    whole = whole.view(batch, heads, *shares.shape[2:])
    return whole[:, :, :length, :depth].to(like.dtype).contiguous()
