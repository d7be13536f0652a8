"""Moves what is done to the result of a linear layer into the layer."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import TYPE_CHECKING, Any

import torch

from deepseek.compiler.nodes import (
    argument,
    calls,
    dtype_of,
    is_node,
    only_user,
    replace,
    same_sizes,
)
from deepseek.compiler.operators import Linear
from deepseek.compiler.rewrite.clean import drop_unused
from deepseek.kernels.gemm.spec import COARSE
from deepseek.kernels.int8.pack import INT8_ROUNDINGS

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants

__all__ = ["fuse_epilogues"]

_aten = torch.ops.aten


def fuse_epilogues(graph: Graph, _constants: Constants) -> None:
    """Fuse activation, then a factor, then a residual; each only where nothing else reads before.

    An activation whose results are all rounded to 8 bits next takes the form for that.

    A call goes to the place of what it swallows, where all operands are there already.
    """
    for step in (_activation, _factor, _residual, _coarse):
        for node in list(graph.nodes):
            if node.op == "call_function" and isinstance(node.target, Linear):
                step(node, node.target)
    drop_unused(graph)


def _activation(node: Node, layer: Linear) -> None:
    user = only_user(node)
    name = None
    if calls(user, _aten.relu.default):
        name = "relu"
    elif calls(user, _aten.silu.default):
        name = "silu"
    elif calls(user, _aten.gelu.default):
        name = "gelu" if argument(user, "approximate") == "none" else "gelu_tanh"
    if user is not None and name is not None:
        replace(user, changed(layer, activation=name), *node.args)


def _factor(node: Node, layer: Linear) -> None:
    user = only_user(node)
    if not calls(user, _aten.mul.Tensor) or len(node.args) > 1:
        return
    other = _other(user, node)
    if other is None or _has_activation(other, layer):
        return
    replace(user, layer, node.args[0], None, other)


def _has_activation(other: Node, layer: Linear) -> bool:
    """Whether the other factor is the gate of the two, which should swallow this one."""
    gate: Any = other.target
    return isinstance(gate, Linear) and gate.activation is not None and layer.activation is None


def _residual(node: Node, layer: Linear) -> None:
    user = only_user(node)
    if not calls(user, _aten.add.Tensor) or argument(user, "alpha") != 1:
        return
    other = _other(user, node)
    if other is None or (len(node.args) > 1 and node.args[1] is not None):
        return
    replace(user, layer, node.args[0], other, *node.args[2:])


def _coarse(node: Node, layer: Linear) -> None:
    name = COARSE.get(layer.activation or "")
    if name and node.users and all(_rounds(user, node) for user in node.users):
        node.target = changed(layer, activation=name)


def _rounds(user: Node, node: Node) -> bool:
    """Whether all that a node does with another's result is to multiply it in integers."""
    layer = user.target
    integers = isinstance(layer, Linear) and layer.weight.rounding in INT8_ROUNDINGS
    return integers and user.args[0] is node and node not in user.args[1:]


def _other(user: Node, node: Node) -> Node | None:
    """The other operand of a sum or product, if it has the sizes and dtype of the result."""
    others = [operand for operand in user.args[:2] if operand is not node]
    if len(others) != 1 or not is_node(others[0]):
        return None
    other = others[0]
    fits = same_sizes(other, user) and same_sizes(node, user) and dtype_of(other) == dtype_of(user)
    return other if fits else None
