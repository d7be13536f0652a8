"""Attention that never holds its matrix of scores: dense and block-sparse, with gradients."""

from deepseek.kernels.attend.api import attention, block_sparse_attention
from deepseek.kernels.attend.blocks import BlockLists
from deepseek.kernels.attend.reference import attention_reference

__all__ = ["BlockLists", "attention", "attention_reference", "block_sparse_attention"]
