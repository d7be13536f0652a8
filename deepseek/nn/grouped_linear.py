"""``GroupedLinear``: a linear layer whose weights alone are quantized, to 8 or 4 bits in groups."""

from typing import Self

import torch
from torch import Tensor, nn

from deepseek.kernels.int8 import QuantizedWeight
from deepseek.nn.buffers import keep
from deepseek.nn.compute import run_grouped
from deepseek.nn.groups import grouped_weight
from deepseek.nn.whole import are_layers_whole, grouped_layer
from deepseek.nn.words import pack_words, words_for

__all__ = ["GroupedLinear"]

_BITS, _GROUPS = (4, 8), (32, 64, 128)


class GroupedLinear(nn.Module):
    """A linear layer with weights of few bits, a scale for each group of them along a row.

    For inference only. Its tensors, their names and layout are those of the compressed-tensors
    format ("pack-quantized"): integers as unsigned numbers, side by side in 32-bit words. On the
    CPU :func:`~deepseek.kernels.int8.linear_weight_only` computes it; elsewhere it is widened.
    A last group may be short.

    Attributes:
        weight_packed: INT32, ``[out_features, in_features * bits / 32]``.
        weight_scale: ``[out_features, groups]``; numbers that bfloat16 holds, at 4 bits.
        weight_shape: ``[out_features, in_features]``, as a tensor.
        weight_zero_point: INT32, packed along the rows, ``[out_features * bits / 32, groups]``;
            None where zero is zero.
        bias: ``[out_features]``, or None.
        weight: None: architectures that look at the type of a weight find that there is none.
    """

    weight_packed: Tensor
    weight_scale: Tensor
    weight_shape: Tensor
    weight_zero_point: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bits: int = 4,
        group_size: int = 128,
        zeros: bool = False,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        assert self.takes(bits, group_size, zeros=zeros), f"{bits} bits, groups of {group_size}"
        self.in_features, self.out_features = in_features, out_features
        self.bits, self.group_size, self.has_zeros = bits, group_size, zeros
        self.weight = None
        groups = -(-in_features // group_size)

        def words(rows: int, columns: int) -> Tensor:
            return torch.zeros((rows, columns), dtype=torch.int32, device=device)

        self.register_buffer("weight_packed", words(out_features, words_for(in_features, bits)))
        scale = torch.ones((out_features, groups), dtype=dtype, device=device)
        self.register_buffer("weight_scale", scale)
        self.register_buffer("weight_shape", torch.tensor([out_features, in_features]))
        points = words(words_for(out_features, bits), groups) if zeros else None
        keep(self, "weight_zero_point", points)
        none = torch.zeros(out_features, dtype=dtype, device=device) if bias else None
        keep(self, "bias", none)

    @staticmethod
    def takes(bits: int, group_size: int, *, zeros: bool) -> bool:
        """Whether there are such layers: 4 or 8 bits, groups of 32, 64 or 128, zeros at 4 bits."""
        return bits in _BITS and group_size in _GROUPS and (bits == 4 or not zeros)

    @classmethod
    def from_quantized(cls, weight: QuantizedWeight, bits: int, like: nn.Linear) -> Self:
        """A layer of integers that have been found already.

        Args:
            weight: As :func:`~deepseek.kernels.int8.pack_groups` takes it.
            bits: 4 or 8.
            like: The layer in floating point, for its bias, which is shared, and its type.
        """
        layer = cls(
            like.in_features,
            like.out_features,
            bits=bits,
            group_size=weight.group_size,
            zeros=weight.zeros is not None,
            bias=like.bias is not None,
            dtype=like.weight.dtype,
            device="meta",
        )
        # With zero points integers are unsigned here and signed in the format.
        shift = 0 if weight.zeros is None else 1 << (bits - 1)
        layer.weight_packed = pack_words(weight.integers.int() - shift, bits)
        layer.weight_scale = weight.scales.to(like.weight.dtype)
        layer.weight_shape = torch.tensor([like.out_features, like.in_features])
        if weight.zeros is not None:
            points = weight.zeros.int() - shift
            layer.weight_zero_point = pack_words(points.t(), bits).t().contiguous()
        if like.bias is not None:
            layer.bias = like.bias.detach()
        return layer.train(like.training)

    def quantized(self) -> QuantizedWeight:
        """The integers, scales and zero points, unpacked."""
        return grouped_weight(
            self.weight_packed,
            self.weight_scale,
            self.weight_zero_point,
            (self.out_features, self.in_features),
            self.bits,
            self.group_size,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer: ``[..., in_features]`` to ``[..., out_features]``."""
        run = grouped_layer if are_layers_whole(x) else run_grouped
        tensors = (self.weight_packed, self.weight_scale, self.weight_zero_point, self.bias)
        return run(x, *tensors, self.bits, self.group_size)

    def extra_repr(self) -> str:
        """The sizes, as ``nn.Linear`` shows them, and the form of the weights."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, bits={self.bits}, group_size={self.group_size}, "
            f"zeros={self.has_zeros}"
        )
