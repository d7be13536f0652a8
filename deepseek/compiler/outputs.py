"""Keeps what AOTAutograd was promised of a graph's outputs: where they lie, and what they share."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import SymInt, Tensor

from deepseek.compiler.nodes import calls, is_node, value_of
from deepseek.compiler.operators import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sympy
    from torch.fx import Graph, Node

__all__ = ["Layout", "Roots", "settle"]

_aten = torch.ops.aten
_MAY_BE_VIEWS = (
    operator.getitem, _aten.reshape.default, _aten.contiguous.default, _aten.to.dtype,
    _aten.to.device, _aten.to.dtype_layout, _aten.flatten.using_ints, _aten.reshape_as.default,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Layout(Operator):
    """A tensor with the strides that were promised, copied if it has others.

    Attributes:
        strides: Numbers, and expressions of symbols.
        symbols: Those symbols, whose values are given in this order.
    """

    strides: tuple[Any, ...]
    symbols: tuple[sympy.Symbol, ...] = ()
    _known: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)

    def __call__(self, x: Tensor, *values: int) -> Tensor:
        """The tensor, or a copy."""
        strides = self._known.get(values)
        if strides is None:
            symbols = dict(zip(self.symbols, values, strict=True))
            strides = tuple(
                step if isinstance(step, int) else int(step.subs(symbols)) for step in self.strides
            )
            self._known[values] = strides
        if x.stride() == strides or _lie_alike(x, strides):
            return x
        return torch.empty_strided(x.shape, strides, dtype=x.dtype).copy_(x)


def _lie_alike(x: Tensor, strides: Sequence[int]) -> bool:
    triples = zip(x.shape, x.stride(), strides, strict=True)
    return not x.numel() or all(n == 1 or a == b for n, a, b in triples)


class Roots:
    """What the memory of each output of a graph belongs to.

    Attributes:
        fresh: Places of outputs in memory of their own.
        apart: Pairs of places of outputs that share nothing.
    """

    def __init__(self, graph: Graph) -> None:
        roots = [_root(node) for node in _results(graph)]
        self.fresh = {
            place for place, root in enumerate(roots) if is_node(root) and root.op != "placeholder"
        }
        self.apart = {
            (first, second)
            for second, root in enumerate(roots)
            for first in range(second)
            if roots[first] is not root
        }


def _results(graph: Graph) -> list[Any]:
    return list(graph.output_node().args[0])  # type: ignore[arg-type]  # a tuple


def _root(node: Any) -> Any:
    while is_node(node) and node.op == "call_function" and node.all_input_nodes and _looks(node):
        node = node.all_input_nodes[0]
    return node


def _looks(node: Node) -> bool:
    """Whether a result may be a view of the first operand."""
    if calls(node, *_MAY_BE_VIEWS):
        return True
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(result.alias_info for result in schema.returns)


def settle(graph: Graph, before: Roots) -> bool:
    """Give outputs of a rewritten graph their strides, and memory of their own where they had it.

    Returns:
        Whether it could be done: strides follow from the sizes that the graph is told.
    """
    symbols = {
        value_of(node).node.expr: node
        for node in graph.find_nodes(op="placeholder")
        if isinstance(value_of(node), SymInt)
    }
    results = _results(graph)
    expected = [value_of(node) if is_node(node) else None for node in results]
    laid = [_layout(value, symbols) if isinstance(value, Tensor) else None for value in expected]
    if any(isinstance(value, Tensor) and laid[i] is None for i, value in enumerate(expected)):
        return False
    after = Roots(graph)
    copied: set[int] = set()
    for place, node in enumerate(results):
        if not is_node(node) or laid[place] is None:
            continue
        joined = any(
            pair in before.apart and pair not in after.apart and pair[0] not in copied
            for pair in ((first, place) for first in range(place))
        )
        with graph.inserting_before(graph.output_node()):
            if joined or (place in before.fresh and place not in after.fresh):
                node = _call(graph, _aten.clone.default, node)
                copied.add(place)
            if place in before.fresh:
                layout = laid[place]
                names = [symbols[symbol] for symbol in layout.symbols]  # type: ignore[union-attr]
                node = _call(graph, layout, node, *names)
        results[place] = node
    graph.output_node().args = (tuple(results),)
    return True


def _call(graph: Graph, target: Any, node: Node, *others: Node) -> Node:
    new = graph.call_function(target, (node, *others))
    new.meta = dict(node.meta)
    return new


def _layout(value: Tensor, symbols: dict[Any, Node]) -> Layout | None:
    steps = [
        step.node.expr if isinstance(step, SymInt) else int(step) for step in value.stride()
    ]
    found = {s for step in steps if not isinstance(step, int) for s in step.free_symbols}
    free = sorted(found, key=str)
    return Layout(tuple(steps), tuple(free)) if all(s in symbols for s in free) else None
