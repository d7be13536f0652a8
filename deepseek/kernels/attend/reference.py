"""What the attention kernels compute, in plain PyTorch."""

from math import inf

import torch
from torch import Tensor

__all__ = ["attention_reference", "block_visibility", "visible_keys"]

# B batch, H heads, G heads of keys, N queries, M keys, D depth of queries and keys, E of values


def attention_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    precision: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """``softmax(q @ k.T * scale + mask) @ v`` in ``precision``, and the log-sum-exp of the scores.

    Args:
        q: ``(B, H, N, D)``.
        k: ``(B, G, M, D)``; query head h uses head ``h // (H / G)``.
        v: ``(B, G, M, E)``.
        mask: Broadcast to ``(B, H, N, M)``: False hides a key, other dtypes are added.
        causal: Whether query i sees only the keys up to ``i + M - N``.
        scale: ``1 / sqrt(D)`` unless given.
        precision: dtype of every operation, and of the results.

    Returns:
        ``(B, H, N, E)`` and ``(B, H, N)``; zeros and -inf for a query that sees no key.
    """
    q, k, v = (operand.to(precision) for operand in (q, k, v))
    group = q.shape[1] // max(k.shape[1], 1)
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -inf)
    elif mask is not None:
        scores = scores + mask.to(precision)
    if causal:
        scores = scores.masked_fill(~visible_keys(q.shape[2], k.shape[2], q.device), -inf)
    blind = (scores == -inf).all(-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)
    return weights @ v, torch.logsumexp(scores, -1)


def visible_keys(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """What a causal query sees, ``(queries, keys)`` bool: the last query sees every key."""
    everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return everything.tril(keys - queries)


def block_visibility(blocks: Tensor, block: int, queries: int, keys: int) -> Tensor:
    """The mask of scores ``(..., queries, keys)`` that a mask of blocks stands for."""
    wide = blocks.repeat_interleave(block, -2).repeat_interleave(block, -1)
    return wide[..., :queries, :keys]
