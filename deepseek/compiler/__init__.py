"""DeepseekCC: graphs of ATen operators in, programs of our kernels out.

capture -> rewrite -> program: a model becomes a graph (:mod:`.capture`), patterns of its operators
become kernels (:mod:`.rewrite`), and what is left runs natively, shape by shape (:mod:`.program`).
Public names are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.compiler.saved import SavedModel, load, save

__all__ = ["SavedModel", "load", "save"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'deepseek.compiler' has no attribute {name!r}")
    return getattr(import_module("deepseek.compiler.saved"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
