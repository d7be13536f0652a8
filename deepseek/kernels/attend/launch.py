"""From tensors to one run of a kernel: operands packed, arguments filled in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.kernels import amx, parallel
from deepseek.kernels.attend import forward
from deepseek.kernels.attend.layouts import lying, packed, rows_of
from deepseek.kernels.attend.operands import (
    Sizes,
    mask_rows,
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
from deepseek.kernels.memory import empty
from deepseek.kernels.target import Target, current

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from deepseek.kernels.attend.blocks import BlockLists

__all__ = ["addresses", "common_arguments", "form_of", "look", "run_forward"]


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
    key = (
        q.dtype, q.shape, q.stride(), k.dtype, k.shape, k.stride(), v.dtype, v.shape, v.stride(),
        look(mask, lists), causal, scale, target,
    )  # fmt: skip
    plan = _plans.get(key)
    if plan is None:
        prepared = _plan(q, k, v, mask, causal, scale, lists, target or current())
        plan = keep(_plans, key, prepared)
    sizes = plan.sizes
    out = empty(plan.shape, q.dtype, plan.strides)
    lse = empty(sizes.scores[:3], torch.float32)
    if plan.kernel is None:
        return out.zero_(), lse.fill_(-inf)

    if not plan.dense:
        q, k, v = with_dense_rows(q), with_dense_rows(k), with_dense_rows(v)
    if mask is not None:
        mask = mask_rows(mask, sizes)  # where it begins; how it is broadcast is known
    keys, values = plan.keys(k), plan.values(v)
    arguments = plan.arguments(
        plan.product, q.data_ptr(), keys.data_ptr(), values.data_ptr(), out.data_ptr(),
        lse.data_ptr(), *addresses(mask, lists),
    )  # fmt: skip
    parallel.run(plan.kernel, arguments, plan.units, plan.chunk)
    return out, lse


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an attention needs that follows from the looks of its operands alone.

    Attributes:
        sizes: Of the attention.
        shape: Of the result.
        strides: Of the result.
        dense: Whether the values of a row lie side by side in all operands.
        kernel: What to run; None where there are no scores.
        product: The address of the product that it calls.
        keys: Brings keys into the kernel's layout; ``values`` likewise.
        arguments: The kernel's arguments from their addresses.
        units: Units of work.
        chunk: Units that a thread takes at a time.
    """

    sizes: Sizes
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dense: bool = True
    kernel: Kernel | None = None
    product: int = 0
    keys: Callable[[Tensor], Tensor] = lambda k: k
    values: Callable[[Tensor], Tensor] = lambda v: v
    arguments: Callable[..., bytes] = forward.ARGUMENTS.pack
    units: int = 0
    chunk: int = 1


_plans: dict[Hashable, _Plan] = {}


def look(mask: Tensor | None, lists: BlockLists | None) -> Hashable:
    """All of a mask and of lists but their addresses and content."""
    listed = None if lists is None else (lists.starts.shape, lists.block, lists.most)
    if mask is None:
        return listed
    recording = mask.requires_grad and torch.is_grad_enabled()
    return mask.dtype, mask.shape, mask.stride(), mask.device, recording, listed


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
    out = result(q, sizes.heads, sizes.queries, sizes.value_depth)
    if 0 in sizes.scores:
        return _Plan(sizes, out.shape, out.stride())
    mask, mask_dtype = mask_view(mask, sizes)
    dense = all(with_dense_rows(operand) is operand for operand in (q, k, v))
    q, k, v = (with_dense_rows(operand) for operand in (q, k, v))
    few = sizes.queries <= FEW
    positive = scale is None or scale > 0
    tiled = not few and positive and _has_tiles(q, lists, target)
    form = form_of(q, sizes, mask_dtype, lists, target, tiled=tiled)
    if few:
        keys, values = lying(k), lying(v)
    else:
        keys = packed(k, form.depth, form, target, transposed=True, use="keys")
        values = rows_of(v, form.value_depth, form, target, use="values")
    work = min(form.block, sizes.queries) * sizes.keys * (sizes.depth + sizes.value_depth)
    return _Plan(
        sizes,
        out.shape,
        out.stride(),
        dense,
        kernel(forward.build_forward, replace(form, few=few), target=target),
        0 if few or tiled else kernel(build_product, target=target).address,
        keys.bring,
        values.bring,
        arguments=forward.ARGUMENTS.bind(
            *common_arguments(sizes, form, q, mask, causal, scale, lists),
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


def form_of(
    q: Tensor,
    sizes: Sizes,
    mask_dtype: str | None,
    lists: BlockLists | None,
    target: Target,
    *,
    tiled: bool = False,
) -> Form:
    """What the kernel for these is compiled for."""
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


def addresses(mask: Tensor | None, lists: BlockLists | None) -> tuple[int, int, int]:
    """Where the mask and the lists lie: the arguments from ``mask`` to ``indices``."""
    starts, indices = (
        (0, 0) if lists is None else (lists.starts.data_ptr(), lists.indices.data_ptr())
    )
    return 0 if mask is None else mask.data_ptr(), starts, indices


def common_arguments(
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
