"""Pointwise operators of a graph fused into kernels, each made once for all sizes."""

from deepseek.compiler.pointwise.call import Pointwise
from deepseek.compiler.pointwise.groups import fuse_pointwise

__all__ = ["Pointwise", "fuse_pointwise"]
