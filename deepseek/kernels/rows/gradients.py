"""The gradients of the row operators, in plain PyTorch: on a CPU, inference is what must be fast.

The embeddings have none; backward through them is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Autograd", "norm_autograd", "norm_gradients", "rotary_autograd", "softmax_autograd",
    "softmax_gradient",
]  # fmt: skip

Autograd = tuple["Callable[..., None]", "Callable[..., tuple[Any, ...]]"]
"""What an operator keeps of a call, and its backward."""

_aten = torch.ops.aten

_ACTIVATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda grad, z: _aten.threshold_backward(grad, z, 0.0),
    "gelu": _aten.gelu_backward,
    "gelu_tanh": lambda grad, z: _aten.gelu_backward(grad, z, approximate="tanh"),
    "silu": _aten.silu_backward,
}


def norm_gradients(
    grad: Tensor,
    total: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    activation: str | None,
    centered: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the normalized sum, the weight and the bias, in fp32.

    Args:
        grad: Of the result.
        total: What was normalized.
        weight: The factor, or None for ones.
        bias: The addend, or None for zeros.
        eps: Added to the variance or mean square.
        activation: What followed.
        centered: Whether the mean was subtracted.
    """
    total, grad = total.float(), grad.float()
    normal = total - total.mean(-1, keepdim=True) if centered else total
    scale = torch.rsqrt(normal.square().mean(-1, keepdim=True) + eps)
    normal = normal * scale
    if activation is not None:
        z = normal if weight is None else normal * weight.float()
        grad = _ACTIVATIONS[activation](grad, z if bias is None else z + bias.float())
    width = total.shape[-1]
    d_weight = (grad * normal).reshape(-1, width).sum(0)
    d_bias = grad.reshape(-1, width).sum(0)
    if weight is not None:
        grad = grad * weight.float()
    inward = grad - normal * (grad * normal).mean(-1, keepdim=True)
    if centered:
        inward = inward - grad.mean(-1, keepdim=True)
    return inward * scale, d_weight, d_bias


def softmax_gradient(grad: Tensor, y: Tensor, logarithm: bool) -> Tensor:
    """The gradient of the scores, in fp32, from that of the result ``y``."""
    grad, y = grad.float(), y.float()
    if logarithm:
        return grad - y.exp() * grad.sum(-1, keepdim=True)
    return y * (grad - (y * grad).sum(-1, keepdim=True))


# The context of an autograd function has no fields that a type could tell of.


def norm_autograd(*names: str) -> Autograd:
    """That of a norm whose parameters have these names; without a bias it is an RMS norm."""
    operands = ("x", "weight", "bias", "residual")
    centered = "bias" in names

    def remember(ctx: Any, inputs: tuple[Any, ...], output: object) -> None:  # noqa: ARG001
        given = dict(zip(names, inputs, strict=True))
        ctx.save_for_backward(*(given.get(name) for name in operands))
        ctx.options = given["eps"], given["activation"], centered

    def backward(ctx: Any, grad: Tensor, grad_total: Tensor | None = None) -> tuple[Any, ...]:
        x, weight, bias, residual = ctx.saved_tensors
        total = x.float() if residual is None else x.float() + residual.float()
        inward, d_weight, d_bias = norm_gradients(grad, total, weight, bias, *ctx.options)
        if grad_total is not None:
            inward = inward + grad_total
        gradients = zip(
            operands, ctx.saved_tensors, (inward, d_weight, d_bias, inward), strict=True
        )
        found = {
            name: gradient.to(operand.dtype)
            for name, operand, gradient in gradients
            if operand is not None
        }
        return tuple(found.get(name) for name in names)

    return remember, backward


def softmax_autograd(logarithm: bool) -> Autograd:
    """That of softmax or its logarithm. A mask has no gradient."""

    def remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _refuse_gradients(ctx, {1: "mask"})
        x, _, bias, scale, _ = inputs
        ctx.save_for_backward(output)
        ctx.dtype, ctx.scale = x.dtype, scale
        ctx.bias = None if bias is None else (bias.shape, bias.dtype)

    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (y,) = ctx.saved_tensors
        inward = softmax_gradient(grad, y, logarithm)
        d_bias = None
        if ctx.bias is not None:
            shape, dtype = ctx.bias
            d_bias = inward.sum_to_size(shape).to(dtype)
        return (inward * ctx.scale).to(ctx.dtype), None, d_bias, None, None

    return remember, backward


def rotary_autograd(rotary: Callable[..., tuple[Tensor, Tensor]]) -> Autograd:
    """That of ``rotary``: turning back. Tables have no gradient."""

    def remember(ctx: Any, inputs: tuple[Any, ...], output: object) -> None:  # noqa: ARG001
        _refuse_gradients(ctx, {2: "cos", 3: "sin"})
        _, _, cos, sin, positions, ctx.interleaved = inputs
        ctx.save_for_backward(cos, sin, positions)

    def backward(ctx: Any, d_q: Tensor, d_k: Tensor) -> tuple[Any, ...]:
        cos, sin, positions = ctx.saved_tensors
        turned = rotary(d_q, d_k, cos, -sin, positions, ctx.interleaved)
        return *turned, None, None, None, None

    return remember, backward


def _refuse_gradients(ctx: Any, names: dict[int, str]) -> None:
    for index, name in names.items():
        if ctx.needs_input_grad[index]:
            raise InputError(f"expected `{name}` without a gradient, got one that requires it")
