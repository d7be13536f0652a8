"""Removes what does nothing, computes what depends on no input, and keeps one of equals."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx.node import map_arg

from deepseek.compiler.looks import Look, Symbolic
from deepseek.compiler.nodes import (
    argument,
    calls,
    dtype_of,
    is_node,
    operands,
    replace,
    same_sizes,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants

__all__ = [
    "drop_idle", "drop_unused", "fold_constants", "join_views", "loosen_views", "merge_equals",
]  # fmt: skip

_aten = torch.ops.aten
_END = 2**63 - 1
_LARGEST = 1 << 20  # elements that a folded constant may have beyond what it was made of

_RESHAPES = (_aten.view.default, _aten.reshape.default)
_CHECKS = (
    _aten._assert_tensor_metadata.default,  # noqa: SLF001
    _aten._assert_scalar.default,  # noqa: SLF001
    _aten._assert_async.msg,  # noqa: SLF001
    _aten.sym_constrain_range.default,
    _aten.sym_constrain_range_for_size.default,
)


def drop_idle(graph: Graph, _constants: Constants) -> None:
    """Remove checks of what is known, and operators that return their input as it is."""
    for node in list(graph.nodes):
        if calls(node, *_CHECKS) and not node.users:
            graph.erase_node(node)
            continue
        idle = _IDLE.get(node.target) if node.op == "call_function" else None
        if idle is not None and idle(node):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    drop_unused(graph)


def join_views(graph: Graph, _constants: Constants) -> None:
    """Of changes of shape that follow one another, keep the last."""
    for node in list(graph.nodes):
        if calls(node, *_RESHAPES) and calls(node.args[0], *_RESHAPES):
            source, sizes = node.args[0].args[0], operands(node)[1]
            replace(node, _aten.reshape.default, source, sizes)
    drop_idle(graph, _constants)


def loosen_views(graph: Graph, _constants: Constants) -> None:
    """Let views copy where they must: kernels need not lay out results as ATen does.

    That makes a difference only to a graph that changes a tensor through a view of it.
    """
    nodes = [node for node in graph.nodes if node.op == "call_function"]
    if any(_changes(node) for node in nodes):
        return
    for node in nodes:
        if calls(node, _aten.view.default):
            replace(node, _aten.reshape.default, *operands(node))


def _changes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _never_random(node: Node) -> bool:
    return not argument(node, "train") or argument(node, "p") == 0.0


def _same_type(node: Node) -> bool:
    source, made = value_of(node.args[0]), value_of(node)  # type: ignore[arg-type]  # a node
    return (
        isinstance(source, Look)
        and source.dtype == made.dtype
        and source.device == made.device
        and source.layout == made.layout
        and not argument(node, "copy")
        and argument(node, "memory_format") in (None, torch.preserve_format)
    )


def _whole(node: Node) -> bool:
    end, start = argument(node, "end"), argument(node, "start")
    return start in (None, 0) and (end is None or end == _END) and argument(node, "step") == 1


def _same_view(node: Node) -> bool:
    return same_sizes(node, node.args[0])


def _neutral(neutral: float) -> Callable[[Node], bool]:
    def idle(node: Node) -> bool:
        other = node.args[1]
        exact = neutral == 1 or dtype_of(node) in (torch.int64, torch.int32)  # -0.0 + 0 is 0.0
        return (
            isinstance(other, (int, float))
            and other == neutral
            and exact
            and dtype_of(node) == dtype_of(node.args[0])
        )

    return idle


def _always(_node: Node) -> bool:
    return True


_IDLE: dict[Any, Callable[[Node], bool]] = {
    _aten.dropout.default: _never_random,
    _aten.feature_dropout.default: _never_random,
    _aten.alias.default: _always,
    _aten.detach.default: _always,
    _aten.lift_fresh_copy.default: _always,
    _aten.to.dtype: _same_type,
    _aten.to.device: _same_type,
    _aten.to.dtype_layout: _same_type,
    _aten.slice.Tensor: _whole,
    _aten.expand.default: _same_view,
    _aten.view.default: _same_view,
    _aten.reshape.default: _same_view,
    _aten.mul.Tensor: _neutral(1),
    _aten.div.Tensor: _neutral(1),
    _aten.add.Tensor: _neutral(0),
    _aten.sub.Tensor: _neutral(0),
}


def drop_unused(graph: Graph) -> None:
    """Remove calls whose results nobody takes, unless they change a tensor."""
    for node in reversed(graph.nodes):
        if not node.users and node.op == "call_function" and not _changes(node):
            graph.erase_node(node)


def fold_constants(graph: Graph, constants: Constants) -> None:
    """Compute once what depends on constants alone, unless that would take much memory."""
    with torch.no_grad():
        for node in list(graph.nodes):
            sources = node.all_input_nodes
            if node.op != "call_function" or not sources:
                continue
            if not all(source in constants for source in sources) or not _foldable(node):
                continue
            args, kwargs = map_arg((node.args, dict(node.kwargs)), constants.__getitem__)
            value = node.target(*args, **kwargs)
            if isinstance(value, Tensor):
                constants[_placeholder(graph, node)] = value
                graph.erase_node(node)
    drop_unused(graph)


def _foldable(node: Node) -> bool:
    made = value_of(node)
    if not isinstance(made, Look) or isinstance(made.numel(), Symbolic):
        return False
    tags = getattr(node.target, "tags", ())
    if torch.Tag.nondeterministic_seeded in tags:
        return False
    given = sum(value_of(source).numel() for source in node.all_input_nodes)
    return bool(made.numel() <= given + _LARGEST)


def _placeholder(graph: Graph, node: Node) -> Node:
    """A new placeholder, beside the others, for a constant in a node's place."""
    last = [other for other in graph.nodes if other.op == "placeholder"][-1]
    with graph.inserting_after(last):
        new = graph.placeholder(f"folded_{node.name}")
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    return new


def merge_equals(graph: Graph, _constants: Constants) -> None:
    """Keep the first of pure calls with equal arguments."""
    seen: dict[object, Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or not _repeatable(node):
            continue
        key = _key(node)
        first = seen.setdefault(key, node)
        if first is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def _repeatable(node: Node) -> bool:
    if node.target is operator.getitem:
        return True
    tags = getattr(node.target, "tags", None)
    schema = getattr(node.target, "_schema", None)
    return (
        tags is not None
        and schema is not None
        and not schema.is_mutable
        and torch.Tag.nondeterministic_seeded not in tags
    )


def _key(node: Node) -> object:
    def plain(x: object) -> object:
        if isinstance(x, (list, tuple)):
            return tuple(map(plain, x))
        if isinstance(x, dict):
            return tuple((key, plain(value)) for key, value in x.items())
        # 1, 1.0 and True are equal, but not as arguments
        return x if is_node(x) else (type(x), repr(x))

    return node.target, plain(node.args), plain(node.kwargs)
