"""What the row kernels compute, in plain PyTorch. CUDA tensors get these."""

from collections.abc import Callable, Sequence
from math import inf

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "embedding_reference", "norm_reference", "rotary_reference", "softmax_reference",
]  # fmt: skip

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda y: functional.gelu(y, approximate="tanh"),
    "silu": functional.silu,
}


def norm_reference(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    residual: Tensor | None = None,
    activation: str | None = None,
    *,
    centered: bool = True,
    precision: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Layer norm, or RMS norm where not ``centered``, of ``x + residual``; and the sum.

    Args:
        x: ``(..., width)``.
        weight: ``(width)``.
        bias: ``(width)``.
        eps: Added to the variance or mean square.
        residual: ``(..., width)``.
        activation: One of :data:`deepseek.kernels.rows.spec.ACTIVATIONS`, or None.
        centered: Whether the mean is subtracted.
        precision: dtype of every operation, and of the results.
    """
    total = x.to(precision)
    if residual is not None:
        total = total + residual.to(precision)
    y = total - total.mean(-1, keepdim=True) if centered else total
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    if weight is not None:
        y = y * weight.to(precision)
    if bias is not None:
        y = y + bias.to(precision)
    if activation is not None:
        y = _ACTIVATIONS[activation](y)
    return y, total


def softmax_reference(
    x: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float = 1.0,
    *,
    logarithm: bool = False,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """``softmax(x * scale + bias + mask)`` over the last dimension, or its logarithm.

    Args:
        x: ``(..., width)``.
        mask: Broadcast to ``x``: False hides a score, other dtypes are added.
        bias: Broadcast to ``x``.
        scale: What ``x`` is multiplied with.
        logarithm: Whether the result is the logarithm.
        precision: dtype of every operation, and of the result.
    """
    scores = x.to(precision) * scale
    if bias is not None:
        scores = scores + bias.to(precision)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -inf)
    elif mask is not None:
        scores = scores + mask.to(precision)
    return torch.log_softmax(scores, -1) if logarithm else torch.softmax(scores, -1)


def embedding_reference(
    ids: Sequence[Tensor],
    tables: Sequence[Tensor],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float | None = None,
    *,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """The sum of the tables' rows with these ids, and its layer norm where ``eps`` is given.

    Args:
        ids: Shapes that broadcast together.
        tables: ``(rows, width)`` each.
        weight: ``(width)``.
        bias: ``(width)``.
        eps: Added to the variance.
        precision: dtype of every operation, and of the result.
    """
    pairs = zip(ids, tables, strict=True)
    parts = [functional.embedding(i, table).to(precision) for i, table in pairs]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    if eps is None:
        return total
    return norm_reference(total, weight, bias, eps, precision=precision)[0]


def rotary_reference(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    interleaved: bool = False,
    *,
    precision: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Queries and keys with pairs of elements turned.

    Args:
        q: ``(B, H, N, D)``.
        k: ``(B, G, N, D)``.
        cos: ``(N, R/2)`` or ``(B, N, R/2)``; with positions ``(P, R/2)``.
        sin: Likewise.
        positions: ``(N)`` or ``(B, N)``.
        interleaved: Whether neighbours are pairs, rather than elements R/2 apart.
        precision: dtype of every operation, and of the results.
    """
    cos, sin = cos.to(precision), sin.to(precision)
    if positions is not None:
        cos, sin = cos[positions.long()], sin[positions.long()]
    if cos.dim() == 3:
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    half = cos.shape[-1]

    def turn(x: Tensor) -> Tensor:
        x, rest = x.to(precision).tensor_split([2 * half], -1)
        if interleaved:
            pairs = x.reshape(*x.shape[:-1], half, 2)
        else:
            pairs = x.reshape(*x.shape[:-1], 2, half).mT
        a, b = pairs.unbind(-1)
        turned = torch.stack((a * cos - b * sin, b * cos + a * sin), -1)
        return torch.cat(((turned if interleaved else turned.mT).flatten(-2), rest), -1)

    return turn(q), turn(k)
