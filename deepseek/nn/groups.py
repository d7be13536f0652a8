"""Integers in groups with a scale each, which grouped layers are made of."""

from torch import Tensor, int8

from deepseek.kernels.int8 import QuantizedWeight, quantize_groups
from deepseek.nn.words import unpack_words

__all__ = ["QuantizedWeight", "grouped_weight", "quantize_groups"]


def grouped_weight(
    packed: Tensor,
    scale: Tensor,
    zero_point: Tensor | None,
    sizes: tuple[int, int],
    bits: int,
    group_size: int,
) -> QuantizedWeight:
    """The integers, scales and zero points of a layer, unpacked.

    With zero points the integers are unsigned here, and signed in the words.

    Args:
        packed: INT32, ``[out_features, words]``.
        scale: ``[out_features, groups]``.
        zero_point: INT32, packed along the rows, or None.
        sizes: The numbers of outputs and of inputs.
        bits: 4 or 8.
        group_size: Inputs that share a scale.
    """
    shift = 0 if zero_point is None else 1 << (bits - 1)
    integers = unpack_words(packed, bits, sizes[1]) + shift
    points = None
    if zero_point is not None:
        points = (unpack_words(zero_point.t(), bits, sizes[0]).t() + shift).contiguous()
    return QuantizedWeight(
        integers=integers.to(int8).contiguous(), scales=scale, zeros=points, group_size=group_size
    )
