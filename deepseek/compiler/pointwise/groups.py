"""Finding the groups of a graph that are worth a kernel, and putting the kernels in.

A group grows from its last node towards its operands: a node joins when all that use it are in the
group, so that only the last one's result is seen outside. A cheap node whose users are all
pointwise joins each of their groups, and is computed again there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch._ops import OpOverload
from torch.fx import Node

from deepseek.compiler.looks import Look
from deepseek.compiler.nodes import dtype_of, same_sizes, value_of
from deepseek.compiler.pointwise.call import Operation, Pointwise, Ref
from deepseek.compiler.pointwise.operators import is_cast, is_no_cast, read
from deepseek.compiler.pointwise.order import memory_order
from deepseek.compiler.pointwise.worth import is_cheap, pays
from deepseek.compiler.pointwise.writer import UnsupportedError, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch.fx import Graph

__all__ = ["fuse_pointwise"]

_MOST_NODES = 64
_MOST_INPUTS = 16


def fuse_pointwise(graph: Graph) -> int:
    """Replace groups of pointwise nodes by one node each, whose target is a :class:`Pointwise`.

    Nodes need ``meta["val"]``, as ``torch.export`` gives it; the new nodes have that of what they
    replace. What changes a tensor in place is not moved across.

    Args:
        graph: What is changed.

    Returns:
        How many groups there are.
    """
    _remove_no_casts(graph)
    fusable = {node: epoch for node, epoch in _epochs(graph) if _is_fusable(node)}
    groups = 0
    for node in reversed(list(graph.nodes)):
        if node not in fusable or not _is_used(node):
            continue
        order = memory_order(value_of(node))
        group = _grown(node, fusable)
        if order is not None and pays(group):
            _replace(graph, group, order)
            groups += 1
    return groups


def _remove_no_casts(graph: Graph) -> None:
    """Take out casts to the dtype that their operand has: torch gives back the operand itself."""
    for node in list(graph.nodes):
        if is_no_cast(node):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _is_used(node: Node) -> bool:
    return any(not _only_asserts(user) for user in node.users)


def _epochs(graph: Graph) -> Iterable[tuple[Node, int]]:
    """Each node, with how many nodes before it may change a tensor in place."""
    epoch = 0
    for node in graph.nodes:
        epoch += _mutates(node)
        yield node, epoch


def _mutates(node: Node) -> bool:
    if isinstance(node.target, OpOverload):
        return bool(node.target._schema.is_mutable)  # noqa: SLF001 - has no other name
    return node.op in ("call_method", "call_module")


def _is_fusable(node: Node) -> bool:
    """Whether a kernel computes the node, whatever its inputs are computed from."""
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return False
    try:
        return bool(_inputs_of([node]))
    except UnsupportedError:
        return False


def _inputs_of(group: Iterable[Node]) -> list[Node]:
    """What the nodes of a group, in the order of the graph, read from outside."""
    writer = Writer()
    for node in group:
        read(writer, node)
    return writer.inputs


def _grown(last: Node, fusable: dict[Node, int]) -> list[Node]:
    """The group that ends in a node, in the order of the graph."""
    group, copied = {last}, set[Node]()
    waiting = _inputs_of([last])
    while waiting and len(group) < _MOST_NODES:
        node = waiting.pop()
        if node in group or fusable.get(node) != fusable[last]:
            continue
        alone = all(user in group - copied for user in node.users if not _only_asserts(user))
        if not _joins(node, last, fusable, alone=alone):
            continue
        if len(_inputs_of(sorted([*group, node]))) <= _MOST_INPUTS:
            group.add(node)
            if not alone:
                copied.add(node)
            waiting += _inputs_of([node])
    return sorted(group)


def _joins(node: Node, last: Node, fusable: dict[Node, int], *, alone: bool) -> bool:
    """Whether a node is better computed in a group than before it.

    ``alone`` says that nothing else needs it: what a copied node needs, its other copies need too.
    """
    value = value_of(node)
    whole = same_sizes(node, last)
    once_a_row = not value.dim() or (isinstance(value.shape[-1], int) and value.shape[-1] == 1)
    cheap = is_cheap(node)
    if not (whole or once_a_row or cheap):
        return False
    if alone:
        return True
    users = [user for user in node.users if not _only_asserts(user)]
    wide = [x for x in _inputs_of([node]) if isinstance(value_of(x), Look)]
    return cheap and len(wide) <= 1 and all(fusable.get(x) == fusable[last] for x in users)


def _only_asserts(node: Node) -> bool:
    """Whether a node only checks dtype and device, which a kernel that replaces it guarantees."""
    return node.target is torch.ops.aten._assert_tensor_metadata.default  # noqa: SLF001


def _replace(graph: Graph, group: Sequence[Node], order: tuple[int, ...]) -> None:
    inputs = _inputs_of(group)
    writer = Writer(inputs)
    numbers = {node: number for number, node in enumerate([*inputs, *group])}
    for node in group:
        read(writer, node)
    fused = Pointwise(
        writer.expression,
        [_operation(node, numbers) for node in group],
        None if order == tuple(range(len(order))) else order,
    )
    last = group[-1]
    with graph.inserting_after(last):
        new = graph.call_function(fused, tuple(inputs))
    new.meta = dict(last.meta)
    last.replace_all_uses_with(new, lambda user: not _only_asserts(user))
    for node in reversed(group):
        if all(_only_asserts(user) for user in node.users):
            for check in list(node.users):
                graph.erase_node(check)
            graph.erase_node(node)


def _operation(node: Node, numbers: dict[Node, int]) -> Operation:
    """The call that a node is; casts by the dtype alone."""

    def ref(argument: object) -> object:
        return Ref(numbers[argument]) if isinstance(argument, Node) else argument

    if is_cast(node):
        return Operation(torch.ops.aten.to.dtype, (ref(node.args[0]), dtype_of(node)))
    assert isinstance(node.target, OpOverload)
    options = tuple((name, ref(x)) for name, x in node.kwargs.items())
    return Operation(node.target, tuple(ref(x) for x in node.args), options)
