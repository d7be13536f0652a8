"""Finds rotary position embedding: ``x * cos + rotate_half(x) * sin`` of queries and of keys."""

from __future__ import annotations

import operator
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from deepseek.compiler.nodes import argument, calls, dtype_of, is_node, operands, shape_of, value_of
from deepseek.compiler.operators import Rotary
from deepseek.compiler.rewrite.clean import drop_unused

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants

__all__ = ["find_rotary"]

_aten = torch.ops.aten
_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Turned:
    """A node that is a rotation of ``x``, which has its heads in the second dimension."""

    node: Node
    x: Node
    cos: Node
    sin: Node


def find_rotary(graph: Graph, _constants: Constants) -> None:
    """Replace each pair of rotations by the same angles, of queries and keys, by one kernel."""
    order = {node: place for place, node in enumerate(graph.nodes)}
    waiting: dict[tuple[Node, Node], list[_Turned]] = defaultdict(list)
    for node in list(graph.nodes):
        turned = _turned(node)
        if turned is None:
            continue
        others = waiting[turned.cos, turned.sin]
        others.append(turned)
        if len(others) == 2:
            if all(order[user] > order[node] for user in others[0].node.users):
                _replace(*others)
            others.clear()
    drop_unused(graph)


def _turned(node: Node) -> _Turned | None:
    if not calls(node, _aten.add.Tensor) or argument(node, "alpha") != 1:
        return None
    for plain, halves in (node.args[:2], node.args[1::-1]):
        if not calls(plain, _aten.mul.Tensor) or not calls(halves, _aten.mul.Tensor):
            continue
        for x, cos in (plain.args, plain.args[::-1]):
            for rotated, sin in (halves.args, halves.args[::-1]):
                if is_node(x) and _is_rotated_half(rotated, x):
                    return _checked(node, x, cos, sin)
    return None


def _checked(node: Node, x: Node, cos: Any, sin: Any) -> _Turned | None:
    """The rotation, if its angles are those of tokens, the same for both halves of a head."""
    angles = [_angles(each) for each in (cos, sin)]
    if any(angle is None for angle in angles) or len(shape_of(x) or ()) != 4:
        return None
    same = dtype_of(x) == dtype_of(node) and dtype_of(x) in (torch.float32, torch.bfloat16)
    return _Turned(node, x, *angles) if same else None


def _angles(node: Any) -> Any:
    """Angles ``(B, N, D)`` beneath ``(B, 1, N, D)``, if their halves are equal."""
    if not calls(node, _aten.unsqueeze.default) or argument(node, "dim") != 1:
        return None
    source = node.args[0]
    return source if len(shape_of(source) or ()) == 3 and _halves_equal(source) else None


def _halves_equal(node: Any) -> bool:
    """Whether a tensor was made of ``cat([a, a], -1)`` by functions of each element alone."""
    while is_node(node):
        if calls(node, _aten.cat.default):
            parts = operands(node)[0]
            rank = len(shape_of(node) or ())
            last = argument(node, "dim") % rank == rank - 1
            return len(parts) == 2 and parts[0] is parts[1] and last
        pointwise = calls(
            node, _aten.cos.default, _aten.sin.default, _aten.mul.Tensor, _aten.to.dtype
        )
        if not pointwise or len(node.all_input_nodes) != 1:
            return False
        node = node.args[0]
    return False


def _is_rotated_half(node: Any, x: Node) -> bool:
    """``cat([-x[..., half:], x[..., :half]], -1)``."""
    width = (shape_of(x) or (None,))[-1]
    if not calls(node, _aten.cat.default) or not isinstance(width, int) or width % 2:
        return False
    parts = operands(node)[0]
    if len(parts) != 2 or not calls(parts[0], _aten.neg.default):
        return False
    upper, lower = parts[0].args[0], parts[1]
    ends = (width, _END)
    return _is_part(upper, x, width // 2, ends) and _is_part(lower, x, 0, (width // 2,))


def _is_part(node: Any, x: Node, start: int, ends: tuple[int, ...]) -> bool:
    rank = len(shape_of(x) or ())
    return (
        calls(node, _aten.slice.Tensor)
        and node.args[0] is x
        and argument(node, "dim") % rank == rank - 1
        and (argument(node, "start") or 0) == start
        and argument(node, "end") in ends
        and argument(node, "step") == 1
    )


def _replace(first: _Turned, second: _Turned) -> None:
    graph = second.node.graph
    with graph.inserting_before(second.node):
        both = graph.call_function(Rotary(), (first.x, second.x, first.cos, first.sin))
        both.meta["val"] = (value_of(first.node), value_of(second.node))
        for place, turned in enumerate((first, second)):
            part = graph.call_function(operator.getitem, (both, place))
            part.meta = dict(turned.node.meta)
            turned.node.replace_all_uses_with(part)
    graph.erase_node(second.node)
    graph.erase_node(first.node)
