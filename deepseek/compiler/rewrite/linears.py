"""Gives linear layers packed weights, and makes one of those that share an input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.compiler.nodes import calls, replace, shape_of, value_of
from deepseek.compiler.operators import Linear
from deepseek.compiler.rewrite.clean import drop_unused
from deepseek.compiler.rewrite.spellings import WHOLE, spelled

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants
    from deepseek.compiler.rewrite.weights import Packing, Weight

__all__ = ["find_linears", "join_linears"]

_aten = torch.ops.aten
_VIEWS = (
    _aten.view.default, _aten.reshape.default, _aten.transpose.int, _aten.permute.default,
    _aten.unsqueeze.default, _aten.slice.Tensor,
)  # fmt: skip


def find_linears(graph: Graph, constants: Constants, packing: Packing) -> None:
    """Replace products with constant weights by the linear kernel."""
    for node in list(graph.nodes):
        for x, weight, bias in spelled(node, constants):
            _replace(node, x, Linear(packing.pack(weight), bias))
    drop_unused(graph)


def _replace(node: Node, x: Node, layer: Linear) -> None:
    """Put the layer in the node's place; where x is a matrix made of more dimensions, on those.

    The view after the product, which brings them back, is then one that changes nothing.
    """
    source = x.args[0] if calls(x, _aten.view.default, _aten.reshape.default) else None
    inner, outer = shape_of(source), shape_of(x)
    if (
        inner is None
        or outer is None
        or len(outer) != 2
        or len(inner) < 3
        or inner[-1] != outer[-1]
    ):
        replace(node, layer, x)
        return
    value = value_of(node)
    with node.graph.inserting_before(node):
        product = node.graph.call_function(layer, (source,))
        product.meta = dict(node.meta)
        product.meta["val"] = value.resized((*inner[:-1], layer.weight.features))
    replace(node, _aten.view.default, product, [-1, layer.weight.features])


def join_linears(graph: Graph, constants: Constants, packing: Packing) -> None:
    """Make one product of the layers that take the same input and are only looked at in pieces.

    Queries, keys and values are such: their heads are views, of a part of a row as of a row.
    """
    families: dict[Any, list[tuple[Node, Weight, Tensor | None]]] = {}
    for node in graph.nodes:
        for x, weight, bias in spelled(node, constants):
            if calls(node, *WHOLE) and _viewed(node):
                alike = (x, weight.kind, bias is None)
                families.setdefault(alike, []).append((node, weight, bias))
    for (x, *_), family in families.items():
        if len(family) > 1:
            _join(x, family, packing)
    drop_unused(graph)


def _viewed(node: Node) -> bool:
    """Whether all users make heads of a row: a view of the last dimension in pieces."""
    sizes = shape_of(node)
    return all(
        calls(user, _aten.view.default)
        and sizes is not None
        and len(shape_of(user) or ()) == len(sizes) + 1
        for user in node.users
    )


def _join(x: Node, family: list[tuple[Node, Weight, Tensor | None]], packing: Packing) -> None:
    first = family[0][0]
    weight = packing.pack(*(weight for _, weight, _ in family))
    biases = [bias for _, _, bias in family if bias is not None]
    layer = Linear(weight, torch.cat(biases) if biases else None)
    value: Any = value_of(first)
    with first.graph.inserting_before(first):
        whole = first.graph.call_function(layer, (x,))
        whole.meta = dict(first.meta)
        whole.meta["val"] = value.resized((*value.shape[:-1], weight.features))
    begin = 0
    for node, part, _ in family:
        end = begin + part.features
        replace(node, _aten.slice.Tensor, whole, -1, begin, end)
        begin = end
