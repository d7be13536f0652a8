"""Attention on CUDA devices, by torch's own operators.

Dense attention is ``scaled_dot_product_attention``, block-sparse attention FlexAttention, which is
compiled by torch on first use. Gradients come from torch's autograd, by running them once more.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import flex_attention as flex

from deepseek.kernels.attend.blocks import BlockLists
from deepseek.kernels.attend.operands import sizes_of
from deepseek.kernels.attend.reference import visible_keys

__all__ = ["attend", "gradients"]

_QUERIES_AT_ONCE = 512  # rows of scores that the log-sum-exp is taken of


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    lists: BlockLists | None = None,
) -> tuple[Tensor, Tensor]:
    """The result and the log-sum-exp, as :func:`deepseek.kernels.attention` returns them."""
    sizes = sizes_of(q, k, v, mask)
    if mask is not None:
        mask = mask.expand(sizes.scores)
    if lists is None:
        return _dense(q, k, v, mask, causal, scale)
    lists.check(sizes)
    return _sparse(q, k, v, mask, causal, scale, lists)


def gradients(
    grad: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    lists: BlockLists | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v."""
    q, k, v = (operand.detach().requires_grad_() for operand in (q, k, v))
    with torch.enable_grad():
        results = attend(q, k, v, mask, causal, scale, lists)
    given = (grad, torch.zeros_like(results[1]) if grad_lse is None else grad_lse)
    dq, dk, dv = torch.autograd.grad(results, (q, k, v), given)
    return dq, dk, dv


def _dense(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float | None
) -> tuple[Tensor, Tensor]:
    queries, keys = q.shape[2], k.shape[2]
    aligned = causal and mask is None and queries == keys
    if causal and not aligned:
        visible = visible_keys(queries, keys, q.device)
        if mask is None:
            mask = visible
        elif mask.dtype == torch.bool:
            mask = mask & visible
        else:
            mask = mask.masked_fill(~visible, -torch.inf)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(q.dtype)
    out = functional.scaled_dot_product_attention(
        q, k, v, mask, is_causal=aligned, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )
    if aligned:
        mask = visible_keys(queries, keys, q.device)
    return out, _log_sum_exp(q, k, mask, scale)


def _log_sum_exp(q: Tensor, k: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    columns = k.float().repeat_interleave(q.shape[1] // k.shape[1], 1).mT
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    parts = []
    for first in range(0, q.shape[2], _QUERIES_AT_ONCE):
        rows = slice(first, first + _QUERIES_AT_ONCE)
        scores = q[:, :, rows].float() @ columns * factor
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask[..., rows, :], -torch.inf)
        elif mask is not None:
            scores = scores + mask[..., rows, :]
        parts.append(torch.logsumexp(scores, -1))
    return torch.cat(parts, -1)


def _sparse(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    lists: BlockLists,
) -> tuple[Tensor, Tensor]:
    (batch, heads, queries, _), keys, block = q.shape, k.shape[2], lists.block
    listed = lists.to_mask(-(-keys // block))
    listed = listed.expand(batch, heads, *listed.shape[2:])

    def visible(b: Tensor, h: Tensor, row: Tensor, column: Tensor) -> Tensor:
        seen = listed[b, h, row // block, column // block]
        if causal:
            seen = seen & (column <= row + (keys - queries))
        if mask is not None and mask.dtype == torch.bool:
            seen = seen & mask[b, h, row, column]
        return seen

    def added(score: Tensor, b: Tensor, h: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return score + (0.0 if mask is None else mask[b, h, row, column])

    block_mask = flex.BlockMask.from_kv_blocks(
        listed.sum(-1).int(),
        listed.int().argsort(dim=-1, descending=True, stable=True).int(),
        BLOCK_SIZE=block,
        mask_mod=visible,
        seq_lengths=(queries, keys),
    )
    attend_ = _compiled() if q.is_cuda else flex.flex_attention
    out, aux = attend_(
        q, k, v,
        score_mod=None if mask is None or mask.dtype == torch.bool else added,
        block_mask=block_mask,
        scale=scale,
        enable_gqa=heads != k.shape[1],
        return_aux=flex.AuxRequest(lse=True),
    )  # fmt: skip
    return out, aux.lse


@lru_cache(maxsize=1)
def _compiled() -> Any:
    return torch.compile(flex.flex_attention, dynamic=True)
