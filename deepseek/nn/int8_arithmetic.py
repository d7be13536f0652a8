"""How numbers become INT8 and how a linear layer computes with them.

Weights have one scale per output channel, ``max|w| / 127``, and lie in [-127, 127]; zero is zero.
Activations have one scale per token, found at run time, and lie in [-128, 127]. They are either
symmetric, ``max|x| / 127.5``, or spread over all of the range, from the lowest to the highest
number of the token, ``(max - min) / 255``, with a zero point that stands for zero. A half is
rounded to the even neighbour. Formulas, rounding and order of steps are those of the
compressed-tensors format (see ``compressed_tensors.quantization``), so that a folder computes the
same here and there.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from deepseek.nn.int8_matmul import int8_matmul

__all__ = [
    "int8_linear",
    "int8_linear_reference",
    "quantize_tokens",
    "quantize_weight",
    "static_linear",
    "weight_sums",
]

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


def weight_sums(weight: Tensor) -> Tensor:
    """What every output gains from a one in all inputs: INT32, ``[out_features]``."""
    return weight.sum(-1, dtype=torch.int32)


def quantize_tokens(x: Tensor, *, symmetric: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Round activations to INT8 with one scale per token.

    Args:
        x: ``[..., features]``, any floating type.
        symmetric: Without a zero point.

    Returns:
        INT8 of the same shape; the scales, ``[..., 1]``; and the zero points, whole numbers of the
        same shape, or None. Both in the type of ``x``.
    """
    if symmetric:
        scale = _never_zero(x.abs().amax(-1, keepdim=True) / ((_HIGHEST - _LOWEST) / 2))
        return _steps(x / scale), scale, None
    lowest = x.amin(-1, keepdim=True).clamp_(max=0)
    highest = x.amax(-1, keepdim=True).clamp_(min=0)
    scale = _never_zero((highest - lowest) / (_HIGHEST - _LOWEST))
    zero = (_LOWEST - lowest / scale).clamp_(_LOWEST, _HIGHEST).round_()
    return _steps((x / scale).add_(zero)), scale, zero


def _steps(x: Tensor) -> Tensor:
    return x.clamp_(_LOWEST, _HIGHEST).round_().to(torch.int8)


def _never_zero(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, torch.finfo(scale.dtype).eps, scale)


def int8_linear(
    x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, sums: Tensor | None
) -> Tensor:
    """A linear layer whose products and sums are integers.

    Args:
        x: ``[..., in_features]``, any floating type; quantized here, per token.
        weight: INT8, ``[out_features, in_features]``.
        weight_scale: ``[out_features, 1]``.
        bias: ``[out_features]``.
        sums: ``weight_sums(weight)`` for activations with a zero point, None for symmetric ones.

    Returns:
        ``[..., out_features]`` in the type of ``x``.
    """
    tokens, scale, zero = quantize_tokens(x, symmetric=sums is None)
    return _multiplied(x, tokens, scale, zero, weight, weight_scale, bias, sums)


def static_linear(
    x: Tensor,
    weight: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None,
    sums: Tensor | None,
    inputs: tuple[Tensor, Tensor | None],
) -> Tensor:
    """The same with one scale for all activations, found before.

    Args:
        x: ``[..., in_features]``, any floating type; what lies beyond the range is clamped.
        weight: INT8, ``[out_features, in_features]``.
        weight_scale: ``[out_features, 1]``.
        bias: ``[out_features]``.
        sums: ``weight_sums(weight)`` for activations with a zero point, None for symmetric ones.
        inputs: Their scale and zero point, ``[1]`` each; the second None if they are symmetric.

    Returns:
        ``[..., out_features]`` in the type of ``x``.
    """
    scale, point = inputs
    steps = x / scale
    zero = None if point is None else point.to(x.dtype)
    tokens = _steps(steps if zero is None else steps.add_(zero))
    return _multiplied(x, tokens, scale, zero, weight, weight_scale, bias, sums)


def _multiplied(
    x: Tensor,
    tokens: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    weight: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None,
    sums: Tensor | None,
) -> Tensor:
    """The product of integers, widened."""
    total = int8_matmul(tokens.reshape(-1, x.shape[-1]), weight)
    if zero is not None and sums is not None:
        total -= zero.reshape(-1, 1).int() * sums
    wide = torch.promote_types(x.dtype, torch.float32)
    result = total.to(wide).mul_(scale.reshape(-1, 1)).mul_(weight_scale.t())
    if bias is not None:
        result.add_(bias)
    return result.to(x.dtype).reshape(*x.shape[:-1], weight.shape[0])


def int8_linear_reference(
    x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, sums: Tensor | None
) -> Tensor:
    """What ``int8_linear`` means, in floating-point numbers: round, widen again, multiply."""
    tokens, scale, zero = quantize_tokens(x, symmetric=sums is None)
    widened = tokens.to(x.dtype) if zero is None else tokens.to(x.dtype) - zero
    return linear(widened * scale, weight.to(x.dtype) * weight_scale, bias)
