"""The gradients of norms and softmax, in plain PyTorch: training is rare on a CPU, inference not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["norm_gradients", "softmax_gradient"]

_aten = torch.ops.aten

_ACTIVATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda grad, z: _aten.threshold_backward(grad, z, 0.0),
    "gelu": lambda grad, z: _aten.gelu_backward(grad, z),
    "gelu_tanh": lambda grad, z: _aten.gelu_backward(grad, z, approximate="tanh"),
    "silu": lambda grad, z: _aten.silu_backward(grad, z),
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
    rows = tuple(range(grad.dim() - 1))
    d_weight, d_bias = (grad * normal).sum(rows) if rows else grad * normal, grad
    d_bias = d_bias.sum(rows) if rows else d_bias
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
