"""Matrix products with packed weights: fp32, bf16 and mixed, any size, one kernel an epilogue."""

from deepseek.kernels.gemm.api import linear
from deepseek.kernels.gemm.layout import PackedWeight, pack_weight
from deepseek.kernels.gemm.reference import linear_reference

__all__ = ["PackedWeight", "linear", "linear_reference", "pack_weight"]
