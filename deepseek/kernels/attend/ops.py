"""Attention as operators of torch, with gradients, for tracing and for other devices.

The public functions come here when torch must see the call. CUDA tensors go to torch's own
operators, in :mod:`deepseek.kernels.attend.cuda`.
"""

import torch
from torch import Tensor

from deepseek.kernels.attend import cuda
from deepseek.kernels.attend.blocks import BlockLists
from deepseek.kernels.attend.launch import run_backward, run_forward
from deepseek.kernels.attend.operands import result, sizes_of

__all__ = ["attention", "block_sparse_attention"]

# The parameters of operators must be written out: torch makes their schemas of the annotations.


@torch.library.custom_op("deepseek::attention", mutates_args=(), device_types="cpu")
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`deepseek.kernels.attention`."""
    return run_forward(q, k, v, mask, causal, scale)


@torch.library.custom_op("deepseek::attention_backward", mutates_args=(), device_types="cpu")
def attention_backward(
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
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v."""
    return run_backward(grad, grad_lse, q, k, v, out, lse, mask, causal, scale)


@torch.library.custom_op("deepseek::block_sparse_attention", mutates_args=(), device_types="cpu")
def block_sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts: Tensor,
    indices: Tensor,
    block: int,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`deepseek.kernels.block_sparse_attention` with the fields of the lists."""
    return run_forward(q, k, v, mask, causal, scale, BlockLists(starts, indices, block))


@torch.library.custom_op(
    "deepseek::block_sparse_attention_backward", mutates_args=(), device_types="cpu"
)
def block_sparse_attention_backward(
    grad: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    starts: Tensor,
    indices: Tensor,
    block: int,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v."""
    lists = BlockLists(starts, indices, block)
    return run_backward(grad, grad_lse, q, k, v, out, lse, mask, causal, scale, lists)


def _results(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Tensors of the shapes and strides that attention returns."""
    sizes = sizes_of(q, k, v, mask)
    out = result(q, sizes.heads, sizes.queries, sizes.value_depth)
    return out, q.new_empty(sizes.scores[:3], dtype=torch.float32)


def _gradients(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tensors of the shapes and strides that the backward operators return."""
    return result(q, *q.shape[1:]), k.new_empty(k.shape), v.new_empty(v.shape)


@attention.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    return _results(q, k, v, mask)


@block_sparse_attention.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts: Tensor,
    indices: Tensor,
    block: int,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    return _results(q, k, v, mask)


@attention_backward.register_fake
def _(
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
) -> tuple[Tensor, Tensor, Tensor]:
    return _gradients(q, k, v)


@block_sparse_attention_backward.register_fake
def _(
    grad: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    starts: Tensor,
    indices: Tensor,
    block: int,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    return _gradients(q, k, v)
