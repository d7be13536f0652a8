"""How keys and values are handed to the kernels: as they lie, or packed in padded blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from deepseek.kernels import parallel
from deepseek.kernels.attend import pack as packing
from deepseek.kernels.calls import WORTH_A_THREAD
from deepseek.kernels.jit import kernel
from deepseek.kernels.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from deepseek.kernels.attend.spec import Form
    from deepseek.kernels.target import Target

__all__ = ["Layout", "lying", "packed", "rows_of"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How keys or values are handed to a kernel.

    Attributes:
        bring: Lays out an operand that looks like the one this was made for.
        strides: Elements from a batch, a head, a row to the next, after that.
    """

    bring: Callable[[Tensor], Tensor]
    strides: tuple[int, ...]


def lying(rows: Tensor) -> Layout:
    """Rows as they lie."""
    return Layout(lambda rows: rows, rows.stride()[:3])


def rows_of(rows: Tensor, width: int, form: Form, target: Target, use: str) -> Layout:
    """Rows of ``width`` fp32 values: as they lie where they are that, else packed.

    Rows far apart share few sets of the first-level cache; to read them often costs more than to
    pack them once.
    """
    close = rows.stride(2) <= 2 * width or rows.shape[2] == 1
    if rows.dtype == torch.float32 and rows.shape[-1] == width and close:
        return lying(rows)
    return packed(rows, width, form, target, transposed=False, use=use)


def packed(
    rows: Tensor, width: int, form: Form, target: Target, *, transposed: bool, use: str
) -> Layout:
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
        blocked = scratch(use, size)
        parallel.run(run, bound(rows.data_ptr(), blocked.data_ptr()), units, chunk)
        return blocked

    a_head = blocks * block * width
    return Layout(pack, (heads * a_head, a_head, width))
