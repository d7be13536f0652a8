"""Captured graphs on disk, so that a later process need not run the model to find out what it does.

A graph is found again by all that it was made from (:mod:`.identity`), and holds no weights: they
are taken from the model. Where anything of a model cannot be described, its graph is not kept.
"""

from deepseek.compiler.kept.store import find, keep, key_of

__all__ = ["find", "keep", "key_of"]
