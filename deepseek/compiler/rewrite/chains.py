"""Joins two linear layers, so that what lies between them need not be there as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepseek.compiler.nodes import only_user, operands, replace
from deepseek.compiler.operators import Chain, Linear
from deepseek.compiler.rewrite.clean import drop_unused

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants

__all__ = ["chain_linears"]


def chain_linears(graph: Graph, _constants: Constants) -> None:
    """Make one call of a layer and the only one that reads its result, such as those of an MLP."""
    for node in list(graph.nodes):
        first, user = _layer(node, most=1), only_user(node)
        second = None if user is None else _layer(user, most=2)
        if user is None or first is None or second is None:
            continue
        x, added = node.args[0], user.args[1:]
        if operands(user)[0] is node and node not in added:
            replace(user, Chain(first, second), x, *added)
    drop_unused(graph)


def _layer(node: Node, most: int) -> Linear | None:
    """The linear layer that a node calls with at most so many operands."""
    target: Any = node.target
    fits = node.op == "call_function" and isinstance(target, Linear) and len(node.args) <= most
    return target if fits else None
