"""From tensors to one run of the backward kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from deepseek.kernels import parallel
from deepseek.kernels.attend import backward
from deepseek.kernels.attend.launch import addresses, common_arguments, form_of, look
from deepseek.kernels.attend.layouts import packed, rows_of
from deepseek.kernels.attend.operands import (
    mask_rows,
    mask_view,
    result,
    sizes_of,
    with_dense_rows,
)
from deepseek.kernels.attend.product import build_product
from deepseek.kernels.calls import keep
from deepseek.kernels.jit import Kernel, kernel
from deepseek.kernels.memory import empty
from deepseek.kernels.target import Target, current

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch import Tensor

    from deepseek.kernels.attend.blocks import BlockLists
    from deepseek.kernels.attend.operands import Sizes

__all__ = ["run_backward"]

_UNITS_A_THREAD = 4  # to balance with when another program takes one of the cores


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
    grad, q, k, v, out = (with_dense_rows(x) for x in (grad.to(q.dtype), q, k, v, out))
    shares = _UNITS_A_THREAD * parallel.threads() if parallel.threads() > 1 else 1
    key = (
        q.dtype, *((x.shape, x.stride()) for x in (q, k, v, grad, out)),
        look(mask, lists), causal, scale, target, shares,
    )  # fmt: skip
    plan = _plans.get(key)
    if plan is None:
        prepared = _plan(
            grad, q, k, v, out, mask, causal, scale, lists, target or current(), shares
        )
        plan = keep(_plans, key, prepared)
    sizes = plan.sizes
    dq = result(q, sizes.heads, sizes.queries, sizes.depth)
    if plan.kernel is None:
        return dq.zero_(), torch.zeros_like(k), torch.zeros_like(v)

    if grad_lse is None:
        grad_lse = torch.zeros(lse.shape)
    if mask is not None:
        mask = mask_rows(mask, sizes)
    operands = [bring(x) for bring, x in zip(plan.bring, (k, k, v), strict=True)]
    dk, dv = (empty(shape, torch.float32) for shape in plan.sums)
    tensors = (q, grad, out, lse.contiguous(), grad_lse.contiguous(), *operands, dq, dk, dv)
    arguments = plan.arguments(
        plan.product, *(x.data_ptr() for x in tensors), *addresses(mask, lists)
    )
    parallel.run(plan.kernel, arguments, plan.units)
    return dq, _summed(dk, k), _summed(dv, v)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What gradients need that follows from the looks of the operands alone.

    Attributes:
        sizes: Of the attention.
        kernel: What to run; None where there are no scores.
        product: The address of the product that it calls.
        bring: Lay out rows of keys, columns of keys, and columns of values.
        sums: Shapes of the gradients of keys and values, for each share of the blocks of queries.
        arguments: The kernel's arguments from their addresses.
        units: Units of work.
    """

    sizes: Sizes
    kernel: Kernel | None = None
    product: int = 0
    bring: tuple[Callable[[Tensor], Tensor], ...] = ()
    sums: tuple[tuple[int, ...], ...] = ()
    arguments: Callable[..., bytes] = backward.ARGUMENTS.pack
    units: int = 0


_plans: dict[Hashable, _Plan] = {}


def _plan(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    lists: BlockLists | None,
    target: Target,
    wanted: int,
) -> _Plan:
    """Check operands that look like this, and find out how to run them in ``wanted`` units."""
    sizes = sizes_of(q, k, v, mask)
    if lists is not None:
        lists.check(sizes)
    if 0 in sizes.scores:
        return _Plan(sizes)
    mask, mask_dtype = mask_view(mask, sizes)
    form = form_of(q, sizes, mask_dtype, lists, target)
    dq = result(q, sizes.heads, sizes.queries, sizes.depth)
    lines = rows_of(k, form.depth, form, target, use="rows")
    columns = (
        packed(x, width, form, target, transposed=True, use=use)
        for x, width, use in ((k, form.depth, "keys"), (v, form.value_depth, "values"))
    )
    kv = sizes.batch * sizes.kv_heads
    query_blocks, key_blocks = -(-sizes.queries // form.block), -(-sizes.keys // form.block)
    shares = max(1, min(-(-wanted // kv), query_blocks))
    return _Plan(
        sizes,
        kernel(backward.build_backward, form, target=target),
        kernel(build_product, target=target).address,
        (lines.bring, *(layout.bring for layout in columns)),
        tuple(
            (kv, shares, key_blocks * form.block, width) for width in (form.depth, form.value_depth)
        ),
        backward.ARGUMENTS.bind(
            *common_arguments(sizes, form, q, mask, causal, scale, lists),
            *grad.stride()[:3], *out.stride()[:3], *dq.stride()[:3], *lines.strides, shares,
        ),
        kv * shares,
    )  # fmt: skip


def _summed(shares: Tensor, like: Tensor) -> Tensor:
    """The sum of all shares, without padding, in the shape and dtype of ``like``."""
    batch, heads, length, depth = like.shape
    whole = shares.sum(1) if shares.shape[1] > 1 else shares
    whole = whole.view(batch, heads, *shares.shape[2:])
    return whole[:, :, :length, :depth].to(like.dtype).contiguous()
