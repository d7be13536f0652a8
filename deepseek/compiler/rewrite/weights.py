"""Weights of linear layers as graphs hold them, and how they are packed for the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from deepseek.kernels.calls import needs_torch
from deepseek.kernels.gemm import PackedWeight, pack_weight
from deepseek.kernels.gemm.spec import int8_format
from deepseek.kernels.int8 import LONGEST_SUM, pack_groups, pack_int8, quantize_int8
from deepseek.kernels.later import Later
from deepseek.kernels.target import current
from deepseek.nn.groups import grouped_weight
from deepseek.nn.int8_arithmetic import quantize_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from deepseek.kernels.target import Target

__all__ = ["Packing", "Weight"]


class _Form(NamedTuple):
    """What a weight becomes when it is packed."""

    dtype: torch.dtype
    format: str = ""
    rounding: str = ""


def _floating(weight: Tensor, _target: Target) -> _Form:
    return _Form(weight.dtype)


def _int8(weight: Tensor, target: Target) -> _Form:
    """INT8 with a scale a row; activations are rounded at run time, per token, asymmetrically.

    A weight with sums too long for 32 bits stays as it is.
    """
    if weight.shape[1] > LONGEST_SUM:
        return _floating(weight, target)
    return _Form(torch.uint8, int8_format(target).name, "asymmetric")


_PRECISIONS: dict[str, Callable[[Tensor, Target], _Form]] = {
    "fp32": _floating,
    "bf16": lambda _weight, _target: _Form(torch.bfloat16),
    "int8": _int8,
}


def _panels(weight: Tensor, form: _Form, target: Target) -> Tensor:
    """The panels of a weight in floating point."""
    if form.format and needs_torch(weight):
        return pack_int8(*quantize_weight(weight.float()), form.rounding, target).panels
    if form.format:
        return quantize_int8(weight.float(), form.rounding, target).panels
    return pack_weight(weight.to(form.dtype), target).panels


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
            self._packed[key] = weights, self._pack(weights, *weights[0].kind)
        return self._packed[key][1]

    def _pack(self, weights: Sequence[Weight], kind: str, *details: Any) -> PackedWeight:
        if kind in ("floating", "unchanged"):
            form = _PRECISIONS["fp32" if kind == "unchanged" else self.precision]
            return _packed_later([weight.tensors[0] for weight in weights], form)
        tensors = [_whole(parts) for parts in zip(*(each.tensors for each in weights), strict=True)]
        if kind == "int8":
            return pack_int8(tensors[0], tensors[1], *details)
        depth, bits, size, *_alone = details
        words, scales, *zeros = tensors
        sizes, points = (words.shape[0], depth), zeros[0] if zeros else None
        return pack_groups(grouped_weight(words, scales, points, sizes, bits, size), bits)


def _packed_later(parts: Sequence[Tensor], form_of: Callable[..., _Form]) -> PackedWeight:
    """A weight that a thread packs, while kernels are compiled."""
    target, (first, *_) = current(), parts
    form = form_of(first, target)

    def panels() -> Tensor:
        with torch.no_grad():
            return _panels(_whole(parts), form, target)

    features = sum(part.shape[0] for part in parts)
    return PackedWeight(
        Later(panels), features, first.shape[1], target, form.format, form.rounding, form.dtype
    )


def _whole(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(tuple(parts)) if len(parts) > 1 else parts[0]
