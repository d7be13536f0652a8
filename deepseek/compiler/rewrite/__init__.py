"""The passes that turn a captured graph of ATen operators into one of kernels.

Each pass is a function of the graph and its constants; :data:`PASSES` is their order.
"""

from deepseek.compiler.rewrite.passes import PASSES, Passed, rewrite

__all__ = ["PASSES", "Passed", "rewrite"]
