"""What the linear kernels compute, in plain PyTorch."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from deepseek.kernels.gemm.spec import COARSE

__all__ = ["epilogue_reference", "linear_reference"]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda y: functional.gelu(y, approximate="tanh"),
    "silu": functional.silu,
}
_ACTIVATIONS |= {coarse: _ACTIVATIONS[name] for name, coarse in COARSE.items()}


def linear_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """``act(x @ weight.T + bias) * multiply + residual`` in ``precision``.

    Args:
        x: ``(..., K)``.
        weight: ``(N, K)``.
        bias: ``(N)``.
        activation: One of :data:`deepseek.kernels.gemm.spec.ACTIVATIONS`, or None.
        residual: ``(..., N)``.
        multiply: ``(..., N)``.
        precision: dtype of every operation, and of the result.
    """
    y = functional.linear(x.to(precision), weight.to(precision))
    return epilogue_reference(y, bias, activation, residual, multiply, precision)


def epilogue_reference(
    y: Tensor,
    bias: Tensor | None,
    activation: str | None,
    residual: Tensor | None,
    multiply: Tensor | None,
    precision: torch.dtype,
) -> Tensor:
    """``act(y + bias) * multiply + residual`` in ``precision``."""
    if bias is not None:
        y = y + bias.to(precision)
    if activation is not None:
        y = _ACTIVATIONS[activation](y)
    if multiply is not None:
        y = y * multiply.to(precision)
    if residual is not None:
        y = y + residual.to(precision)
    return y
