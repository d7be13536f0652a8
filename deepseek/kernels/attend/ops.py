"""Attention as operators of torch, with gradients, for tracing and for other devices.

The public functions come here when torch must see the call. CUDA tensors go to torch's own
operators, in :mod:`deepseek.kernels.attend.cuda`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deepseek.kernels.attend import cuda
from deepseek.kernels.attend.blocks import BlockLists
from deepseek.kernels.attend.gradients import run_backward
from deepseek.kernels.attend.launch import run_forward
from deepseek.kernels.attend.operands import result, sizes_of
from deepseek.kernels.calls import needs_torch

__all__ = ["attention", "attention_backward", "block_sparse_attention"]

# Operators have their parameters written out: torch makes schemas of the annotations.


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


@torch.library.custom_op("deepseek::block_sparse_attention", mutates_args=(), device_types="cpu")
def block_sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts: Tensor,
    indices: Tensor,
    block: int = 64,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`deepseek.kernels.block_sparse_attention` with the fields of its lists."""
    return run_forward(q, k, v, mask, causal, scale, BlockLists(starts, indices, block))


@torch.library.custom_op("deepseek::attention_backward", mutates_args=(), device_types="cpu")
def attention_backward(
    grad: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    starts: Tensor | None = None,
    indices: Tensor | None = None,
    block: int = 64,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v: of dense attention without lists, else of block-sparse."""
    lists = _lists(starts, indices, block)
    return run_backward(grad, grad_lse, q, k, v, out, lse, mask, causal, scale, lists)


@attention.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *_others: object
) -> tuple[Tensor, Tensor]:
    return _results(q, k, v, mask)


@block_sparse_attention.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    _starts: Tensor,
    _indices: Tensor,
    _block: int = 64,
    mask: Tensor | None = None,
    *_others: object,
) -> tuple[Tensor, Tensor]:
    return _results(q, k, v, mask)


@attention_backward.register_fake
def _(
    _grad: Tensor, _grad_lse: Tensor | None, q: Tensor, k: Tensor, v: Tensor, *_others: object
) -> tuple[Tensor, Tensor, Tensor]:
    return result(q, *q.shape[1:]), k.new_empty(k.shape), v.new_empty(v.shape)


@attention.register_kernel("cuda")
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    return _laid_out(q, k, v, *cuda.attend(q, k, v, mask, causal, scale))


@block_sparse_attention.register_kernel("cuda")
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts: Tensor,
    indices: Tensor,
    block: int = 64,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    lists = BlockLists(starts, indices, block)
    return _laid_out(q, k, v, *cuda.attend(q, k, v, mask, causal, scale, lists))


@attention_backward.register_kernel("cuda")
def _(
    grad: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    _out: Tensor,
    _lse: Tensor,
    starts: Tensor | None = None,
    indices: Tensor | None = None,
    block: int = 64,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    lists = _lists(starts, indices, block)
    dq, dk, dv = cuda.gradients(grad, grad_lse, q, k, v, mask, causal, scale, lists)
    return result(q, *q.shape[1:]).copy_(dq), dk.contiguous(), dv.contiguous()


def _lists(starts: Tensor | None, indices: Tensor | None, block: int) -> BlockLists | None:
    return None if starts is None or indices is None else BlockLists(starts, indices, block)


def _results(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Empty tensors with the shapes and strides of what attention returns."""
    sizes = sizes_of(q, k, v, mask)
    out = result(q, sizes.heads, sizes.queries, sizes.value_depth)
    return out, q.new_empty(sizes.scores[:3], dtype=torch.float32)


def _laid_out(q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor) -> tuple[Tensor, Tensor]:
    """The results with the strides that attention promises."""
    results = _results(q, k, v)
    return results[0].copy_(out), results[1].copy_(lse)


# The context of an autograd function has no fields that a type could tell of.


def _keep_dense(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, mask, causal, scale = inputs
    ctx.save_for_backward(q, k, v, *output, None, None, mask)
    ctx.others = (64, causal, scale)
    ctx.unused = (None, None, None)


def _keep_sparse(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, starts, indices, block, mask, causal, scale = inputs
    ctx.save_for_backward(q, k, v, *output, starts, indices, mask)
    ctx.others = (block, causal, scale)
    ctx.unused = (None,) * 6


def _backward(ctx: Any, grad: Tensor, grad_lse: Tensor | None) -> tuple[Tensor | None, ...]:
    q, k, v, out, lse, starts, indices, mask = ctx.saved_tensors
    block, causal, scale = ctx.others
    if needs_torch(grad, grad_lse, q, k, v, mask):
        gradients = attention_backward(
            grad, grad_lse, q, k, v, out, lse, starts, indices, block, mask, causal, scale
        )
    else:
        lists = _lists(starts, indices, block)
        gradients = run_backward(grad, grad_lse, q, k, v, out, lse, mask, causal, scale, lists)
    return *gradients, *ctx.unused


attention.register_autograd(_backward, setup_context=_keep_dense)
block_sparse_attention.register_autograd(_backward, setup_context=_keep_sparse)
