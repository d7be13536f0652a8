"""Takes the parts of a tensor one by one, so that passes see views and not tuples of them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import torch

from deepseek.compiler.nodes import argument, calls, replace, value_of
from deepseek.compiler.rewrite.clean import drop_unused

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants

__all__ = ["take_parts"]

_aten = torch.ops.aten
_SPLITS = (
    _aten.split.Tensor, _aten.split_with_sizes.default, _aten.split.sizes, _aten.chunk.default,
)  # fmt: skip


def take_parts(graph: Graph, _constants: Constants) -> None:
    """Make a slice of each part of a split, and a selection of each of an unbinding."""
    for node in list(graph.nodes):
        if not calls(node, *_SPLITS, _aten.unbind.int):
            continue
        for part in list(node.users):
            if part.target is operator.getitem:
                _take(node, part)
    drop_unused(graph)


def _take(whole: Node, part: Node) -> None:
    parts, dim = value_of(whole), argument(whole, "dim")
    index = part.args[1]
    if not isinstance(index, int):
        return
    index %= len(parts)
    if calls(whole, _aten.unbind.int):
        replace(part, _aten.select.int, whole.args[0], dim, index)
        return
    sizes = [each.shape[dim] for each in parts[: index + 1]]
    if all(isinstance(size, int) for size in sizes):
        begin = sum(sizes[:index])
        replace(part, _aten.slice.Tensor, whole.args[0], dim, begin, begin + sizes[index])
