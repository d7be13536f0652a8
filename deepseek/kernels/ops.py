"""The kernels as operators of torch: ``torch.ops.deepseek.*``, traceable and checked by opcheck.

Importing this module registers them. CUDA tensors go to torch's own operators.
"""

import torch
from torch import Tensor

from deepseek.kernels import gemm
from deepseek.kernels.attend.ops import attention, attention_backward, block_sparse_attention
from deepseek.kernels.gemm.layout import PackedWeight, check_panels
from deepseek.kernels.gemm.operands import linear_shape
from deepseek.kernels.int8.elsewhere import quantized_linear_by_torch
from deepseek.kernels.rows.ops import (
    add_layer_norm,
    add_rms_norm,
    embedding,
    embedding_layer_norm,
    layer_norm,
    log_softmax,
    rms_norm,
    rotary,
    softmax,
)
from deepseek.kernels.target import current

__all__ = [
    "add_layer_norm", "add_rms_norm", "attention", "attention_backward", "block_sparse_attention",
    "embedding", "embedding_layer_norm", "layer_norm", "linear", "log_softmax", "quantized_linear",
    "rms_norm", "rotary", "softmax",
]  # fmt: skip


@torch.library.custom_op("deepseek::linear", mutates_args=(), device_types="cpu")
def linear(
    x: Tensor,
    panels: Tensor,
    features: int,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
) -> Tensor:
    """:func:`deepseek.kernels.gemm.linear` with the weight as its panels and number of rows."""
    weight = _aligned(_weight(x, panels, features))
    return gemm.linear(x, weight, bias, activation, residual, multiply)


@linear.register_fake
def _(
    x: Tensor,
    panels: Tensor,
    features: int,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
) -> Tensor:
    weight = _weight(x, panels, features)
    return x.new_empty(linear_shape(x, weight, bias, activation, residual, multiply))


@linear.register_kernel("cuda")
def _(
    x: Tensor,
    panels: Tensor,
    features: int,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
) -> Tensor:
    weight = _weight(x, panels, features).unpack()
    return gemm.linear_reference(x, weight, bias, activation, residual, multiply, x.dtype)


@torch.library.custom_op("deepseek::quantized_linear", mutates_args=(), device_types="cpu")
def quantized_linear(
    x: Tensor,
    panels: Tensor,
    features: int,
    layout: str,
    rounding: str,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
) -> Tensor:
    """:func:`deepseek.kernels.gemm.linear` with a quantized weight as its fields.

    ``layout`` is its format.
    """
    weight = _aligned(_weight(x, panels, features, layout, rounding))
    return gemm.linear(x, weight, bias, activation, residual, multiply)


@quantized_linear.register_fake
def _(
    x: Tensor,
    panels: Tensor,
    features: int,
    layout: str,
    rounding: str,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
) -> Tensor:
    weight = _weight(x, panels, features, layout, rounding)
    return x.new_empty(linear_shape(x, weight, bias, activation, residual, multiply))


@quantized_linear.register_kernel("cuda")
def _(
    x: Tensor,
    panels: Tensor,
    features: int,
    layout: str,
    rounding: str,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
) -> Tensor:
    weight = _weight(x, panels, features, layout, rounding).quantized()
    return quantized_linear_by_torch(x, weight, rounding, bias, activation, residual, multiply)


def _weight(
    x: Tensor, panels: Tensor, features: int, layout: str = "", rounding: str = ""
) -> PackedWeight:
    """The weight, once its panels have been found to be those of its sizes."""
    weight = PackedWeight(panels, features, x.shape[-1], current(), layout, rounding)
    check_panels(weight)
    return weight


def _aligned(weight: PackedWeight) -> PackedWeight:
    """The weight with its panels where kernels may load whole registers from."""
    panels = weight.panels
    if panels.data_ptr() % 64 == 0 and panels.is_contiguous():
        return weight
    return weight.moved(panels.clone(memory_format=torch.contiguous_format))
