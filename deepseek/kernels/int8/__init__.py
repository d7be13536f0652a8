"""Products with quantized weights: int8 by int8, and weights alone of 8 or 4 bits.

They are built by the generator of :mod:`deepseek.kernels.gemm`, whose ``linear`` takes every packed
weight. Importing this module needs no LLVM.
"""

from deepseek.kernels.gemm.quantized import QuantizedWeight
from deepseek.kernels.int8.linear import linear_int8, linear_weight_only
from deepseek.kernels.int8.pack import (
    LONGEST_SUM,
    pack_groups,
    pack_int8,
    pack_weight_only,
    quantize_groups,
    quantize_int8,
)
from deepseek.kernels.int8.reference import quantize_rows_reference, quantized_linear_reference
from deepseek.kernels.int8.rows import quantize_rows

__all__ = [
    "LONGEST_SUM", "QuantizedWeight", "linear_int8", "linear_weight_only", "pack_groups",
    "pack_int8", "pack_weight_only", "quantize_groups", "quantize_int8", "quantize_rows",
    "quantize_rows_reference", "quantized_linear_reference",
]  # fmt: skip
