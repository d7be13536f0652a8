"""Which blocks of keys each block of queries sees, as ragged lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.attend.spec import BLOCK, BLOCKS

if TYPE_CHECKING:
    from deepseek.kernels.attend.operands import Sizes

__all__ = ["BlockLists"]


@dataclass(frozen=True, slots=True, eq=False)
class BlockLists:
    """A list of blocks of keys for each batch, head and block of queries.

    The blocks of list ``(b, h, i)`` are ``indices[starts[b, h, i] : starts[b, h, i + 1]]``, in any
    order; one that is listed twice counts twice. The tensors must not be changed afterwards.

    Attributes:
        starts: ``(B or 1, H or 1, query blocks + 1)`` int32.
        indices: ``(n)`` int32.
        block: Queries, and keys, a block: 16, 32, 64 or 128. The last block may be shorter.

    Raises:
        InputError: The lists are not of this form.
    """

    starts: Tensor
    indices: Tensor
    block: int = BLOCK
    most: int = field(init=False)  # the highest index, -1 where there is none

    def __post_init__(self) -> None:
        starts, indices = self.starts.contiguous(), self.indices.contiguous()
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "indices", indices)
        if self.block not in BLOCKS:
            raise InputError(f"expected a block size of {BLOCKS}, got {self.block}")
        if starts.dtype != torch.int32 or starts.dim() != 3 or not starts.shape[-1]:
            raise InputError(
                "expected `starts` of int32 and shape (batch, heads, query blocks + 1), "
                f"got {starts.dtype} and {tuple(starts.shape)}"
            )
        if indices.dtype != torch.int32 or indices.dim() != 1:
            raise InputError(
                f"expected `indices` of int32 and one dimension, got {indices.dtype} and "
                f"{tuple(indices.shape)}"
            )
        if starts.numel() and not (
            int(starts.min()) >= 0
            and int(starts.max()) <= indices.numel()
            and bool((starts[..., 1:] >= starts[..., :-1]).all())
        ):
            raise InputError(
                f"expected `starts` that rise from 0 up to {indices.numel()}, the number of indices"
            )
        low, high = map(int, indices.aminmax()) if indices.numel() else (0, -1)
        if low < 0:
            raise InputError(f"expected `indices` of at least 0, got {low}")
        object.__setattr__(self, "most", high)

    @classmethod
    def from_mask(cls, mask: Tensor, block: int = BLOCK) -> BlockLists:
        """The lists of a mask ``(B or 1, H or 1, query blocks, key blocks)`` of bool.

        Raises:
            InputError: The mask has another shape or dtype.
        """
        if mask.dtype != torch.bool or mask.dim() != 4:
            raise InputError(
                "expected a mask of bool and shape (batch, heads, query blocks, key blocks), "
                f"got {mask.dtype} and {tuple(mask.shape)}"
            )
        ends = mask.sum(-1).flatten().cumsum(0).view(mask.shape[:-1])
        starts = torch.empty(*mask.shape[:2], mask.shape[2] + 1, dtype=torch.int32)
        starts = starts.to(mask.device)
        starts[..., 1:] = ends
        starts[..., 0] = ends[..., 0] - mask[..., 0, :].sum(-1) if mask.shape[2] else 0
        return cls(starts, mask.nonzero()[:, -1].int(), block)

    def to_mask(self, key_blocks: int) -> Tensor:
        """The mask of blocks that :meth:`from_mask` takes; a block listed twice shows once."""
        lengths = self.starts.diff().flatten().long()
        mask = torch.zeros(lengths.numel(), key_blocks, dtype=torch.bool, device=self.starts.device)
        lists = torch.repeat_interleave(lengths)
        first = self.starts[..., :-1].flatten().long()
        within = torch.arange(lists.numel(), device=lists.device) - (
            lengths.cumsum(0) - lengths
        ).index_select(0, lists)
        mask[lists, self.indices.long()[first[lists] + within]] = True
        return mask.view(*self.starts.shape[:2], self.starts.shape[2] - 1, key_blocks)

    def check(self, sizes: Sizes) -> None:
        """Refuse an attention that the lists are not for.

        Raises:
            InputError: They have other batches, heads or blocks.
        """
        query_blocks, key_blocks = -(-sizes.queries // self.block), -(-sizes.keys // self.block)
        wanted = (sizes.batch, sizes.heads, query_blocks + 1)
        have = tuple(self.starts.shape)
        if have[2] != wanted[2] or any(a not in (1, b) for a, b in zip(have, wanted, strict=True)):
            raise InputError(f"expected `starts` broadcast to {wanted}, got shape {have}")
        if self.most >= key_blocks:
            raise InputError(
                f"expected `indices` below the {key_blocks} blocks of keys, got {self.most}"
            )

    def strides(self, sizes: Sizes) -> tuple[int, int]:
        """Elements of ``starts`` from one batch to the next, and from one head to the next."""
        expanded = self.starts.expand(sizes.batch, sizes.heads, -1)
        return expanded.stride(0), expanded.stride(1)
