"""What the passes ask of a node of a graph, in one place and with types.

Arguments of ATen operators are read by their names in the operator's schema, so that a pass need
not know which of them were given by position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor
from torch.fx import Node

from deepseek.compiler.looks import Look, look_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Constants", "argument", "calls", "dtype_of", "is_node", "only_user", "operands", "order_of",
    "replace", "same_sizes", "shape_of", "value_of",
]  # fmt: skip

_aten = torch.ops.aten
_TURNS = _aten.transpose.int, _aten.permute.default, _aten.mT.default

Constants = dict[Node, Tensor]
"""Placeholders whose tensors are known: parameters, buffers, what was folded."""


def is_node(argument: object) -> TypeGuard[Node]:
    """Whether an argument is the result of another node."""
    return isinstance(argument, Node)


def calls(node: object, *targets: object) -> TypeGuard[Node]:
    """Whether something is a node that calls one of these functions."""
    return isinstance(node, Node) and node.op == "call_function" and node.target in targets


def argument(node: Node, name: str, default: Any = None) -> Any:
    """An argument of an ATen operator by its name in the schema.

    Args:
        node: A call of an ``OpOverload``.
        name: The parameter's name.
        default: What is returned where it was not given and the schema has no value for it.
    """
    if name in node.kwargs:
        return node.kwargs[name]
    target: Any = node.target
    for position, parameter in enumerate(target._schema.arguments):  # noqa: SLF001 - no other way
        if parameter.name == name:
            if position < len(node.args):
                return node.args[position]
            return parameter.default_value if parameter.has_default_value() else default
    return default


def operands(node: Node) -> list[Any]:
    """The arguments that were given by position."""
    return list(node.args)


def value_of(node: Node) -> Any:
    """What the node was found to make when the graph was captured; of a tensor a :class:`Look`.

    What torch found is put into that form when it is first asked for.
    """
    value = node.meta.get("val")
    if not isinstance(value, Look):
        value = look_of(value)
        if value is not None:
            node.meta["val"] = value
    return value


def shape_of(node: object) -> tuple[Any, ...] | None:
    """The sizes of a node's result, numbers or symbols; None if it is no tensor."""
    value = value_of(node) if isinstance(node, Node) else None
    return value.shape if isinstance(value, Look) else None


def dtype_of(node: object) -> torch.dtype | None:
    """The dtype of a node's result; None if it is no tensor."""
    value = value_of(node) if isinstance(node, Node) else None
    return value.dtype if isinstance(value, Look) else None


def same_sizes(left: object, right: object) -> bool:
    """Whether two nodes make tensors of sizes that are the same for every input."""
    a, b = shape_of(left), shape_of(right)
    return a is not None and a == b


def order_of(node: object) -> list[int] | None:
    """The dimensions of what a node turns, in the order it gives them; None if it does not turn."""
    if not calls(node, *_TURNS):
        return None
    rank = len(shape_of(node) or ())
    if calls(node, _aten.permute.default):
        return [dim % rank for dim in argument(node, "dims")]
    first, second = (-2, -1) if calls(node, _aten.mT.default) else operands(node)[1:3]
    order = list(range(rank))
    order[first], order[second] = order[second], order[first]
    return order


def only_user(node: Node) -> Node | None:
    """The one node that takes a result, None if there are more or none."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def replace(node: Node, target: Callable[..., Any], *arguments: Any, **named: Any) -> Node:
    """Put a call in the place of a node; it is said to make what the node made."""
    with node.graph.inserting_before(node):
        new = node.graph.call_function(target, arguments, named)
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    node.graph.erase_node(node)
    return new
