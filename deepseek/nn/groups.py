"""Integers in groups with a scale each, which grouped layers are made of."""

from deepseek.kernels.int8 import QuantizedWeight, quantize_groups

__all__ = ["QuantizedWeight", "quantize_groups"]
