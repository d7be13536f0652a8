"""How numbers become INT8 and how a linear layer computes with them.

Weights have one scale per output channel, ``max|w| / 127``, and lie in [-127, 127]. Activations
have one scale per token, found at run time, ``max|x| / 127.5``, and lie in [-128, 127]; a half is
rounded to the even neighbour. Both are symmetric: zero is zero. The activation formula, its
rounding and its scale for an all-zero token are those of the compressed-tensors format (see
``compressed_tensors.quantization``), so that a folder computes the same here and there.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from deepseek.nn.int8_matmul import int8_matmul

__all__ = ["int8_linear", "int8_linear_reference", "quantize_tokens", "quantize_weight"]

_LOWEST, _HIGHEST = -128, 127


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round a weight to INT8 with one scale per output channel.

    Args:
        weight: ``[out_features, in_features]``, any floating type.

    Returns:
        INT8 of the same shape, and the scales, ``[out_features, 1]`` in the type of the weight.
    """
    # The scale is rounded to the weight's own type first: it is stored in that type.
    scale = _never_zero((weight.float().abs().amax(-1, keepdim=True) / _HIGHEST).to(weight.dtype))
    steps = (weight.float() / scale.float()).round_()
    return steps.clamp_(-_HIGHEST, _HIGHEST).to(torch.int8), scale


def quantize_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """Round activations to INT8 with one scale per token.

    Args:
        x: ``[..., features]``, any floating type.

    Returns:
        INT8 of the same shape, and the scales, ``[..., 1]`` in the type of ``x``.
    """
    scale = _never_zero(x.abs().amax(-1, keepdim=True) / ((_HIGHEST - _LOWEST) / 2))
    return (x / scale).clamp_(_LOWEST, _HIGHEST).round_().to(torch.int8), scale


def _never_zero(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, torch.finfo(scale.dtype).eps, scale)


def int8_linear(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer whose products and sums are integers.

    Args:
        x: ``[..., in_features]``, any floating type; quantized here, per token.
        weight: INT8, ``[out_features, in_features]``.
        weight_scale: ``[out_features, 1]``.
        bias: ``[out_features]``.

    Returns:
        ``[..., out_features]`` in the type of ``x``.
    """
    tokens, scale = quantize_tokens(x)
    sums = int8_matmul(tokens.reshape(-1, x.shape[-1]), weight)
    wide = torch.promote_types(x.dtype, torch.float32)
    result = sums.to(wide).mul_(scale.reshape(-1, 1)).mul_(weight_scale.t())
    if bias is not None:
        result.add_(bias)
    return result.to(x.dtype).reshape(*x.shape[:-1], weight.shape[0])


def int8_linear_reference(
    x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None
) -> Tensor:
    """What ``int8_linear`` means, in floating-point numbers: round, widen again, multiply."""
    tokens, scale = quantize_tokens(x)
    return linear(tokens.to(x.dtype) * scale, weight.to(x.dtype) * weight_scale, bias)
