"""The kernels as operators of torch: ``torch.ops.deepseek.*``, traceable and checked by opcheck.

Importing this module registers them. CUDA tensors go to torch's own operators.
"""

import torch
from torch import Tensor

from deepseek.kernels import gemm
from deepseek.kernels.attend.ops import attention, attention_backward, block_sparse_attention
from deepseek.kernels.gemm.layout import PackedWeight, unpack_panels
from deepseek.kernels.gemm.operands import linear_shape
from deepseek.kernels.target import current

__all__ = ["attention", "attention_backward", "block_sparse_attention", "linear"]


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
    return gemm.linear(x, _weight(x, panels, features), bias, activation, residual, multiply)


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
    weight = PackedWeight(panels, features, x.shape[-1], current())
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
    weight = unpack_panels(panels, features, x.shape[-1])
    return gemm.linear_reference(x, weight, bias, activation, residual, multiply, x.dtype)


def _weight(x: Tensor, panels: Tensor, features: int) -> PackedWeight:
    aligned = panels if panels.data_ptr() % 64 == 0 and panels.is_contiguous() else panels.clone()
    return PackedWeight(aligned, features, x.shape[-1], current())
