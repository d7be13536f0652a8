"""What quantized layers compute: by the kernels where they take it, else by torch."""

from torch import Tensor
from torch.nn.functional import linear

from deepseek.kernels.int8 import linear_int8, linear_weight_only, pack_groups
from deepseek.nn.groups import QuantizedWeight, grouped_weight
from deepseek.nn.int8_arithmetic import int8_linear
from deepseek.nn.packed import kernels_take, packed_for, packed_once

__all__ = ["run_grouped", "run_int8"]


def run_int8(
    x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, sums: Tensor | None
) -> Tensor:
    """:func:`~deepseek.nn.int8_arithmetic.int8_linear`, the same bits by either way."""
    packed = packed_for(x, weight, weight_scale, bias, symmetric=sums is None)
    if packed is not None:
        return linear_int8(x, packed, bias)
    return int8_linear(x, weight, weight_scale, bias, sums)


def run_grouped(
    x: Tensor,
    weight_packed: Tensor,
    weight_scale: Tensor,
    weight_zero_point: Tensor | None,
    bias: Tensor | None,
    bits: int,
    group_size: int,
) -> Tensor:
    """A linear layer whose weight is that of :func:`~deepseek.nn.groups.grouped_weight`.

    Args:
        x: ``[..., in_features]``.
        weight_packed: INT32, ``[out_features, words]``.
        weight_scale: ``[out_features, groups]``.
        weight_zero_point: INT32, packed along the rows, or None.
        bias: ``[out_features]``.
        bits: 4 or 8.
        group_size: Inputs that share a scale.
    """
    tensors = (weight_packed, weight_scale, weight_zero_point)
    sizes = (weight_packed.shape[0], x.shape[-1])

    def weight() -> QuantizedWeight:
        return grouped_weight(*tensors, sizes, bits, group_size)

    if kernels_take(x, bias):
        sources = tuple(tensor for tensor in tensors if tensor is not None)
        packed = packed_once(sources, "groups", lambda: pack_groups(weight(), bits))
        if packed is not None:
            return linear_weight_only(x, packed, bias)
    return linear(x, weight().numbers().to(x.dtype), bias)
