"""Weights of linear layers as graphs hold them, and how they are packed for the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.kernels.gemm import pack_weight
from deepseek.kernels.int8 import LONGEST_SUM, pack_groups, pack_int8
from deepseek.nn.groups import grouped_weight
from deepseek.nn.int8_arithmetic import quantize_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from deepseek.kernels.gemm import PackedWeight

__all__ = ["Packing", "Weight"]


def _pack_int8(weight: Tensor) -> PackedWeight:
    """INT8 with a scale a row; activations are rounded at run time, per token, asymmetrically.

    A weight with sums too long for 32 bits stays as it is.
    """
    if weight.shape[1] > LONGEST_SUM:
        return pack_weight(weight)
    return pack_int8(*quantize_weight(weight.float()), rounding="asymmetric")


def _pack_bf16(weight: Tensor) -> PackedWeight:
    return pack_weight(weight.bfloat16())


_PRECISIONS: dict[str, Callable[[Tensor], PackedWeight]] = {
    "fp32": pack_weight,
    "bf16": _pack_bf16,
    "int8": _pack_int8,
}


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """The weight of a layer, of one or more tensors whose rows belong to outputs.

    Weights of the same kind may be laid beneath one another.

    Attributes:
        tensors: What it is made of, ``(N, …)`` each.
        kind: The form of numbers, and what else there is to know of it: ``("floating",)``,
            ``("int8", rounding)`` with integers and scales, ``("grouped", K, bits, group size)``
            with words of integers, scales, and words of zero points if there are any; or
            ``("unchanged",)``, of a layer that computes in its own precision whatever others do.
    """

    tensors: tuple[Tensor, ...]
    kind: tuple[Any, ...] = ("floating",)

    @property
    def features(self) -> int:
        """The outputs of the layer."""
        return self.tensors[0].shape[0]


class Packing:
    """How the weights of linear layers are stored; graphs of one model share what was packed.

    Args:
        precision: ``fp32``, ``bf16`` or ``int8``, for weights in floating point; those that are
            quantized already stay what they are.
    """

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self._packed: dict[Hashable, tuple[Sequence[Weight], PackedWeight]] = {}

    def pack(self, *weights: Weight) -> PackedWeight:
        """The weights, of one kind, beneath one another, packed."""
        tensors = [tensor for weight in weights for tensor in weight.tensors]
        key = tuple((x.data_ptr(), x.shape, x.stride()) for x in tensors), weights[0].kind
        if key not in self._packed:
            columns = zip(*(weight.tensors for weight in weights), strict=True)
            whole = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in columns]
            self._packed[key] = weights, self._pack(whole, *weights[0].kind)
        return self._packed[key][1]

    def _pack(self, tensors: Sequence[Tensor], form: str, *details: Any) -> PackedWeight:
        if form == "int8":
            return pack_int8(tensors[0], tensors[1], *details)
        if form == "grouped":
            depth, bits, size, *_alone = details
            words, scales, *zeros = tensors
            sizes, points = (words.shape[0], depth), zeros[0] if zeros else None
            return pack_groups(grouped_weight(words, scales, points, sizes, bits, size), bits)
        return (pack_weight if form == "unchanged" else _PRECISIONS[self.precision])(*tensors)
