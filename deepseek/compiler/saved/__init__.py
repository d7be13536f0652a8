"""Compiled models as folders: the graph as JSON, the weights as safetensors.

Nothing in such a folder is code: operators are named, kernels are made from this package's sources
by their description, and only those that are listed in :mod:`.codec` can be named at all.
"""

from deepseek.compiler.saved.folder import SavedModel, load, save

__all__ = ["SavedModel", "load", "save"]
