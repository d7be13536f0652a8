"""Attention as functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.calls import needs_torch

if TYPE_CHECKING:
    from torch import Tensor

    from deepseek.kernels.attend.blocks import BlockLists

__all__ = ["attention", "block_sparse_attention"]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """``softmax(q @ k.T * scale + mask) @ v``, and the log-sum-exp of each query's scores.

    It differs from :func:`torch.nn.functional.scaled_dot_product_attention` in this: ``causal`` is
    aligned to the last query and key, as decoding with a cache needs it, not to the first, and may
    be combined with a mask; and NaN in a value that no query of a block may see does not spread.

    Args:
        q: ``(B, H, N, D)``, fp32 or bf16, any strides.
        k: ``(B, G, M, D)``, of the same dtype. H is a multiple of G; query head h uses head
            ``h // (H / G)``.
        v: ``(B, G, M, E)``, likewise. D and E are at most 512.
        mask: Broadcast to ``(B, H, N, M)``. Where bool, False hides a key; fp32 and bf16 are added
            to the scores; what is below -2.3e38 hides a key as -inf does. A mask of padded keys
            is ``(B, 1, 1, M)``.
        causal: Whether query i sees only the keys up to ``i + M - N``.
        scale: ``1 / sqrt(D)`` unless given.

    Returns:
        The result ``(B, H, N, E)`` of the dtype of ``q``, whose heads and rows are laid out in the
        order of those of ``q``; and the log-sum-exp ``(B, H, N)``, fp32. A query that sees no key
        has zeros and -inf.

    Raises:
        InputError: A shape, dtype or device does not fit.
    """
    if needs_torch(q, k, v, mask):
        from deepseek.kernels.attend import ops

        dense: tuple[Tensor, Tensor] = ops.attention(q, k, v, mask, causal, scale)
        return dense
    from deepseek.kernels.attend.launch import run_forward

    return run_forward(q, k, v, mask, causal, scale)


def block_sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    blocks: BlockLists,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention over the blocks of keys that each block of queries lists; no others are computed.

    Arguments, results and errors are those of :func:`attention`; ``causal`` and ``mask`` hide keys
    of the listed blocks.

    Args:
        q: ``(B, H, N, D)``.
        k: ``(B, G, M, D)``.
        v: ``(B, G, M, E)``.
        blocks: The lists, by query head.
        mask: Broadcast to ``(B, H, N, M)``.
        causal: Whether query i sees only the keys up to ``i + M - N``.
        scale: ``1 / sqrt(D)`` unless given.
    """
    if needs_torch(q, k, v, mask):
        from deepseek.kernels.attend import ops

        sparse: tuple[Tensor, Tensor] = ops.block_sparse_attention(
            q, k, v, blocks.starts, blocks.indices, blocks.block, mask, causal, scale
        )
        return sparse
    from deepseek.kernels.attend.launch import run_forward

    return run_forward(q, k, v, mask, causal, scale, blocks)
