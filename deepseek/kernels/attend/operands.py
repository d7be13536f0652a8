"""Tensors as the attention kernels need them: what fits, what must be laid out anew."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.attend.spec import MOST_DEPTH
from deepseek.kernels.calls import DTYPES, MASKS, check_broadcast

__all__ = [
    "Sizes", "mask_rows", "mask_view", "result", "sizes_of", "with_dense_rows",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of one attention.

    Attributes:
        batch: B.
        heads: H, of queries.
        kv_heads: G, of keys and values.
        queries: N.
        keys: M.
        depth: D, of queries and keys.
        value_depth: E, of values.
    """

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    depth: int
    value_depth: int

    @property
    def group(self) -> int:
        """How many query heads share a head of keys and values."""
        return self.heads // max(self.kv_heads, 1)

    @property
    def scores(self) -> tuple[int, int, int, int]:
        """Shape of the scores, which a mask is broadcast to."""
        return self.batch, self.heads, self.queries, self.keys


def sizes_of(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Sizes:
    """The sizes, after the operands have been found to fit.

    Raises:
        InputError: They do not.
    """
    for name, operand in (("q", q), ("k", k), ("v", v)):
        if operand.dim() != 4:
            raise InputError(
                f"expected `{name}` of shape (batch, heads, length, depth), "
                f"got {tuple(operand.shape)}"
            )
        if operand.dtype not in DTYPES:
            raise InputError(f"expected `{name}` of float32 or bfloat16, got {operand.dtype}")
        if operand.dtype != q.dtype:
            raise InputError(f"expected `{name}` of the dtype of `q`, {q.dtype}, "
                             f"got {operand.dtype}")  # fmt: skip
        if operand.device != q.device:
            raise InputError(f"expected `{name}` on {q.device}, got {operand.device}")
    batch, heads, queries, depth = q.shape
    kv_heads, keys, value_depth = v.shape[1:]
    if k.shape != (batch, kv_heads, keys, depth) or v.shape[0] != batch:
        raise InputError(
            f"expected `k` and `v` of shapes ({batch}, heads, keys, {depth}) and ({batch}, heads, "
            f"keys, depth), got {tuple(k.shape)} and {tuple(v.shape)}"
        )
    if heads and (not kv_heads or heads % kv_heads):
        raise InputError(f"expected heads of `k` that divide the {heads} of `q`, got {kv_heads}")
    if max(depth, value_depth) > MOST_DEPTH:
        raise InputError(f"expected a depth of at most {MOST_DEPTH}, got {depth} and {value_depth}")
    sizes = Sizes(batch, heads, kv_heads, queries, keys, depth, value_depth)
    if mask is not None:
        _check_mask(mask, q, sizes)
    return sizes


def _check_mask(mask: Tensor, q: Tensor, sizes: Sizes) -> None:
    if mask.dtype not in MASKS:
        raise InputError(f"expected `mask` of bool, float32 or bfloat16, got {mask.dtype}")
    if mask.device != q.device:
        raise InputError(f"expected `mask` on {q.device}, got {mask.device}")
    check_broadcast("mask", mask, sizes.scores)
    if mask.requires_grad and torch.is_grad_enabled():
        raise InputError("expected `mask` without a gradient, got one that requires it")


def mask_view(mask: Tensor | None, sizes: Sizes) -> tuple[Tensor | None, str | None]:
    """The mask broadcast to the scores, its last dimension contiguous; and its dtype's name."""
    if mask is None:
        return None, None
    return mask_rows(mask, sizes).expand(sizes.scores), MASKS[mask.dtype]


def mask_rows(mask: Tensor, sizes: Sizes) -> Tensor:
    """The mask with its last dimension whole and contiguous: itself where it is so, or a copy."""
    if mask.shape[-1:] != sizes.scores[-1:] or (mask.stride(-1) != 1 and sizes.keys > 1):
        return mask.expand(*mask.shape[:-1], sizes.keys).contiguous()
    return mask


def with_dense_rows(operand: Tensor) -> Tensor:
    """The operand with the values of a row side by side: itself where it can be, else a copy."""
    return operand if operand.stride(-1) == 1 or operand.shape[-1] == 1 else operand.contiguous()


def result(like: Tensor, heads: int, length: int, depth: int) -> Tensor:
    """An empty ``(B, heads, length, depth)`` whose heads and length are ordered as in ``like``.

    Models make queries as a view of ``(B, N, H, D)`` and read the result so.
    """
    batch = like.shape[0]
    if like.stride(1) < like.stride(2) and like.shape[1] > 1:
        return like.new_empty(batch, length, heads, depth).transpose(1, 2)
    return like.new_empty(batch, heads, length, depth)
