"""From tensors to one run of a kernel: operands packed, arguments filled in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.kernels import amx, parallel
from deepseek.kernels.attend import backward, forward
from deepseek.kernels.attend import pack as packing
from deepseek.kernels.attend.operands import (
    Sizes,
    mask_view,
    result,
    sizes_of,
    with_dense_rows,
)
from deepseek.kernels.attend.product import build_product
from deepseek.kernels.attend.scores import LOG2E
from deepseek.kernels.attend.spec import BLOCK, FEW, SHORT, TILE, Form, padded
from deepseek.kernels.calls import DTYPES, WORTH_A_THREAD, keep
from deepseek.kernels.jit import Kernel, kernel
from deepseek.kernels.scratch import scratch
from deepseek.kernels.target import Target, current

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from deepseek.kernels.attend.blocks import BlockLists

__all__ = ["run_backward", "run_forward"]

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
    listed = None if lists is None else (lists.starts.shape, lists.block, lists.most)
    key = (
        q.dtype, q.shape, q.stride(), k.dtype, k.shape, k.stride(), v.dtype, v.shape, v.stride(),
        None if mask is None else _look(mask), causal, scale, listed, target,
    )  # fmt: skip
    plan = _plans.get(key)
    if plan is None:
        prepared = _plan(q, k, v, mask, causal, scale, lists, target or current())
        plan = keep(_plans, key, prepared)
    sizes = plan.sizes
    out = plan.result(q)
    lse = torch.empty(*sizes.scores[:3], dtype=torch.float32)
    if plan.kernel is None:
        return out.zero_(), lse.fill_(-inf)

    if not plan.dense:
        q, k, v = with_dense_rows(q), with_dense_rows(k), with_dense_rows(v)
    if mask is not None:
        mask, _ = mask_view(mask, sizes)
    keys, values = plan.keys(k), plan.values(v)
    arguments = plan.arguments(
        plan.product, q.data_ptr(), keys.data_ptr(), values.data_ptr(), out.data_ptr(),
        lse.data_ptr(), *_addresses(mask, lists),
    )  # fmt: skip
    parallel.run(plan.kernel, arguments, plan.units, plan.chunk)
    return out, lse


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an attention needs that follows from the looks of its operands alone.

    Attributes:
        sizes: Of the attention.
        result: Makes the tensor for it, from the queries.
        dense: Whether the values of a row lie side by side in all operands.
        kernel: What to run; None where there are no scores.
        product: The address of the product that it calls.
        keys: Brings keys into the kernel's layout; ``values`` likewise.
        arguments: The kernel's arguments from their addresses.
        units: Units of work.
        chunk: Units that a thread takes at a time.
    """

    sizes: Sizes
    result: Callable[[Tensor], Tensor]
    dense: bool = True
    kernel: Kernel | None = None
    product: int = 0
    keys: Callable[[Tensor], Tensor] = lambda k: k
    values: Callable[[Tensor], Tensor] = lambda v: v
    arguments: Callable[..., bytes] = forward.ARGUMENTS.pack
    units: int = 0
    chunk: int = 1


_plans: dict[Hashable, _Plan] = {}


def _look(mask: Tensor) -> Hashable:
    """All of a mask but its address and content."""
    recording = mask.requires_grad and torch.is_grad_enabled()
    return mask.dtype, mask.shape, mask.stride(), mask.device, recording


def _plan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    lists: BlockLists | None,
    target: Target,
) -> _Plan:
    """Check operands that look like this, and find out how to run them."""
    sizes = sizes_of(q, k, v, mask)
    if lists is not None:
        lists.check(sizes)
    shape = sizes.heads, sizes.queries, sizes.value_depth
    out = result(q, *shape)
    like_q = (out.shape, out.stride()) == (q.shape, torch.empty_like(q).stride())
    make = torch.empty_like if like_q else lambda q: result(q, *shape)
    if 0 in sizes.scores:
        return _Plan(sizes, make)
    mask, mask_dtype = mask_view(mask, sizes)
    dense = all(with_dense_rows(operand) is operand for operand in (q, k, v))
    q, k, v = (with_dense_rows(operand) for operand in (q, k, v))
    few = sizes.queries <= FEW
    positive = scale is None or scale > 0
    tiled = not few and positive and _has_tiles(q, lists, target)
    form = _form(q, sizes, mask_dtype, lists, target, tiled=tiled)
    if few:
        keys, values = _lying(k), _lying(v)
    else:
        keys = _packed(k, form.depth, form, target, transposed=True, use="keys")
        values = _rows(v, form.value_depth, form, target, use="values")
    work = min(form.block, sizes.queries) * sizes.keys * (sizes.depth + sizes.value_depth)
    return _Plan(
        sizes,
        make,
        dense,
        kernel(forward.build_forward, replace(form, few=few), target=target),
        0 if few or tiled else kernel(build_product, target=target).address,
        keys.bring,
        values.bring,
        arguments=forward.ARGUMENTS.bind(
            *_common(sizes, form, q, mask, causal, scale, lists),
            *out.stride()[:3],
            *keys.strides,
            *values.strides,
        ),
        units=sizes.batch * sizes.heads * -(-sizes.queries // form.block),
        chunk=max(1, WORTH_A_THREAD // max(work, 1)),
    )


def _block(sizes: Sizes, tiled: bool) -> int:
    """The smallest block that holds all there is, or the usual one."""
    longest = max(sizes.queries, sizes.keys)
    return next((block for block in SHORT[tiled:] if longest <= block), BLOCK)


def _has_tiles(q: Tensor, lists: BlockLists | None, target: Target) -> bool:
    """Whether AMX multiplies blocks of these."""
    whole = lists is None or lists.block % TILE == 0
    return q.dtype == torch.bfloat16 and target.amx and whole and amx.allowed()


def _form(
    q: Tensor,
    sizes: Sizes,
    mask_dtype: str | None,
    lists: BlockLists | None,
    target: Target,
    *,
    tiled: bool = False,
) -> Form:
    unit = TILE if tiled else target.lanes
    return Form(
        DTYPES[q.dtype],
        padded(sizes.depth, unit),
        padded(sizes.value_depth, unit),
        _block(sizes, tiled) if lists is None else lists.block,
        mask_dtype,
        sparse=lists is not None,
        tiled=tiled,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """How keys or values are handed to a kernel.

    Attributes:
        bring: Lays out an operand that looks like the one this was made for.
        strides: Elements from a batch, a head, a row to the next, after that.
    """

    bring: Callable[[Tensor], Tensor]
    strides: tuple[int, ...]


def _lying(rows: Tensor) -> _Layout:
    """Rows as they lie."""
    return _Layout(lambda rows: rows, rows.stride()[:3])


def _rows(rows: Tensor, width: int, form: Form, target: Target, use: str) -> _Layout:
    """Rows of ``width`` fp32 values: as they lie where they are that, else packed.

    Rows far apart share few sets of the first-level cache; to read them often costs more than to
    pack them once.
    """
    close = rows.stride(2) <= 2 * width or rows.shape[2] == 1
    if rows.dtype == torch.float32 and rows.shape[-1] == width and close:
        return _lying(rows)
    return _packed(rows, width, form, target, transposed=False, use=use)


def _packed(
    rows: Tensor, width: int, form: Form, target: Target, *, transposed: bool, use: str
) -> _Layout:
    """Rows ``(B, G, M, D)`` in padded blocks, in the memory that is for this use."""
    batch, heads, length, depth = rows.shape
    block, blocks = form.block, -(-length // form.block)
    units = batch * heads * blocks
    if form.tiled:
        run = kernel(packing.build_pack_pairs, width, block, not transposed, target=target)
    else:
        run = kernel(packing.build_pack, form.dtype, width, block, transposed, target=target)
    size = units * block * width * (2 if form.tiled else 4)
    bound = packing.ARGUMENTS.bind(heads, length, depth, blocks, *rows.stride()[:3])
    chunk = max(1, WORTH_A_THREAD // (4 * block * width))

    def pack(rows: Tensor) -> Tensor:
        packed = scratch(use, size)
        parallel.run(run, bound(rows.data_ptr(), packed.data_ptr()), units, chunk)
        return packed

    a_head = blocks * block * width
    return _Layout(pack, (heads * a_head, a_head, width))


def _addresses(mask: Tensor | None, lists: BlockLists | None) -> tuple[int, int, int]:
    starts, indices = (
        (0, 0) if lists is None else (lists.starts.data_ptr(), lists.indices.data_ptr())
    )
    return 0 if mask is None else mask.data_ptr(), starts, indices


def _common(
    sizes: Sizes,
    form: Form,
    q: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    lists: BlockLists | None,
) -> tuple[float, ...]:
    """The arguments that forward and backward share, from the scale to the strides of lists."""
    chosen = sizes.depth**-0.5 if scale is None and sizes.depth else scale or 0.0
    return (
        chosen * LOG2E,
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
    grad, q, k, v = (with_dense_rows(operand) for operand in (grad.to(q.dtype), q, k, v))
    lines = _rows(k, form.depth, form, target, use="rows")
    key_rows = lines.bring(k)
    columns = (form, target)
    key_columns = _packed(k, form.depth, *columns, transposed=True, use="keys").bring(k)
    value_columns = _packed(v, form.value_depth, *columns, transposed=True, use="values").bring(v)

    kv = sizes.batch * sizes.kv_heads
    query_blocks, key_blocks = -(-sizes.queries // form.block), -(-sizes.keys // form.block)
    wanted = _UNITS_A_THREAD * parallel.threads() if parallel.threads() > 1 else 1
    shares = max(1, min(-(-wanted // kv), query_blocks))
    dk, dv = (
        torch.zeros(kv, shares, key_blocks * form.block, width)
        for width in (form.depth, form.value_depth)
    )
    arguments = backward.ARGUMENTS.pack(
        kernel(build_product, target=target).address,
        *(x.data_ptr() for x in (
            q, grad, lse, delta, key_rows, key_columns, value_columns, dq, dk, dv)),
        *_addresses(mask, lists), *_common(sizes, form, q, mask, causal, scale, lists),
        *grad.stride()[:3], *dq.stride()[:3], *lines.strides, shares,
    )  # fmt: skip
    parallel.run(run, arguments, kv * shares)
    return dq, _summed(dk, k), _summed(dv, v)


def _summed(shares: Tensor, like: Tensor) -> Tensor:
    """The sum of all shares, without padding, in the shape and dtype of ``like``."""
    batch, heads, length, depth = like.shape
    whole = shares.sum(1) if shares.shape[1] > 1 else shares
    whole = whole.view(batch, heads, *shares.shape[2:])
    return whole[:, :, :length, :depth].to(like.dtype).contiguous()
