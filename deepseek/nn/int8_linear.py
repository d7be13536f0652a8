"""``Int8Linear``: stands in for ``torch.nn.Linear`` at inference, a quarter of its size."""

from typing import Self

import torch
from torch import Tensor, nn

from deepseek.nn.buffers import keep
from deepseek.nn.compute import run_int8
from deepseek.nn.int8_arithmetic import quantize_weight, static_linear, weight_sums
from deepseek.nn.whole import are_layers_whole, int8_layer

__all__ = ["Int8Linear"]


class Int8Linear(nn.Module):
    """A linear layer with INT8 weights (a scale per channel) and INT8 activations.

    Activations are rounded per token, over the range of the token, or by one calibrated scale for
    all. For inference only: no gradient flows through it. On the CPU the kernels of
    :mod:`deepseek.kernels.int8` compute what is rounded per token where they can, for the same
    result. The names of its tensors are those of the compressed-tensors format.

    Attributes:
        weight: INT8, ``[out_features, in_features]``.
        weight_scale: ``[out_features, 1]``.
        bias: ``[out_features]``, or None.
        input_scale: ``[1]``, of calibrated activations, else None.
        input_zero_point: INT8, ``[1]``, of calibrated activations with a zero point, else None.
        sums: Sums of the weights of every output, INT32, kept for the zero point of activations
            and not stored; None where activations are symmetric.
    """

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor | None
    input_scale: Tensor | None
    input_zero_point: Tensor | None
    sums: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        symmetric: bool = False,
        static: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        shape = (out_features, in_features)
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8, device=device))
        scale = torch.ones((out_features, 1), dtype=dtype, device=device)
        self.register_buffer("weight_scale", scale)
        zeros = torch.zeros(out_features, dtype=dtype, device=device) if bias else None
        self.register_buffer("bias", zeros)
        step = torch.ones(1, dtype=dtype, device=device) if static else None
        keep(self, "input_scale", step)
        has_zero = static and not symmetric
        zero = torch.zeros(1, dtype=torch.int8, device=device) if has_zero else None
        keep(self, "input_zero_point", zero)
        sums = None if symmetric else weight_sums(self.weight)
        self.register_buffer("sums", sums, persistent=False)
        self.register_load_state_dict_post_hook(_add_up)  # type: ignore[no-untyped-call]

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        *,
        symmetric: bool = False,
        inputs: tuple[Tensor, Tensor | None] | None = None,
    ) -> Self:
        """Quantize a layer; its bias is shared, its weight is not.

        Args:
            linear: In floating point.
            symmetric: Round activations without a zero point.
            inputs: The scale and the zero point of calibrated activations, ``[1]`` each; the
                second None where they are symmetric.
        """
        symmetric = symmetric if inputs is None else inputs[1] is None
        layer = cls(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            symmetric=symmetric,
            static=inputs is not None,
            dtype=linear.weight.dtype,
            device="meta",
        )
        layer.weight, layer.weight_scale = quantize_weight(linear.weight.detach())
        if linear.bias is not None:
            layer.bias = linear.bias.detach()
        if inputs is not None:
            layer.input_scale, layer.input_zero_point = inputs[0].to(linear.weight.dtype), inputs[1]
        _add_up(layer)
        return layer.train(linear.training)

    @classmethod
    def sharing(cls, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Self:
        """A layer over tensors that are there already, such as those of an embedding.

        Args:
            weight: INT8, ``[out_features, in_features]``.
            weight_scale: ``[out_features, 1]``.
            bias: ``[out_features]``.
        """
        outputs, inputs = weight.shape
        layer = cls(inputs, outputs, bias=bias is not None, dtype=weight_scale.dtype, device="meta")
        layer.share(weight, weight_scale)
        if bias is not None:
            layer.bias = bias
        return layer

    def share(self, weight: Tensor, weight_scale: Tensor) -> None:
        """Take the weight and scales of another layer; see :meth:`sharing`."""
        self.weight, self.weight_scale = weight, weight_scale
        _add_up(self)

    @property
    def symmetric(self) -> bool:
        """Whether activations are rounded without a zero point."""
        return self.sums is None

    @property
    def static(self) -> bool:
        """Whether activations are rounded by a calibrated scale."""
        return self.input_scale is not None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer: ``[..., in_features]`` to ``[..., out_features]``."""
        weight, scale, bias, sums = self.weight, self.weight_scale, self.bias, self.sums
        if self.input_scale is not None:
            inputs = (self.input_scale, self.input_zero_point)
            return static_linear(x, weight, scale, bias, sums, inputs)
        run = int8_layer if are_layers_whole(x) else run_int8
        return run(x, weight, scale, bias, sums)

    def extra_repr(self) -> str:
        """The sizes, as ``nn.Linear`` shows them."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, symmetric={self.symmetric}"
        ) + (", static=True" if self.static else "")


def _add_up(layer: nn.Module, _keys: object = None) -> None:
    """Bring the sums up to date with weights that have just arrived."""
    assert isinstance(layer, Int8Linear)
    if not layer.symmetric:
        layer.sums = weight_sums(layer.weight)
