"""Keeps what AOTAutograd was promised of a graph's outputs: where they lie, and what they share."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.compiler.looks import Look, Symbolic, expression_of
from deepseek.compiler.nodes import calls, is_node, value_of
from deepseek.compiler.operators import Operator
from deepseek.compiler.sizes import compute

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
            strides = tuple(int(compute(step, symbols)) for step in self.strides)
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
        values: What each output was found to be.
        fresh: Places of outputs in memory of their own.
        apart: Pairs of places of outputs that share nothing.
    """

    def __init__(self, graph: Graph) -> None:
        results = _results(graph)
        roots = [_root(node) for node in results]
        self.values = [value_of(node) if is_node(node) else None for node in results]
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
        value_of(node).expression: node
        for node in graph.find_nodes(op="placeholder")
        if isinstance(value_of(node), Symbolic)
    }
    results = _results(graph)
    laid = [_layout(x, symbols) if isinstance(x, Look) else None for x in before.values]
    if any(isinstance(x, Look) and laid[i] is None for i, x in enumerate(before.values)):
        return False
    after = Roots(graph)
    with graph.inserting_before(graph.output_node()):
        for place, node in enumerate(results):
            layout = laid[place]
            if not is_node(node) or layout is None or place not in before.fresh:
                continue
            if place not in after.fresh or _joined(place, before, after):
                results[place] = _call(graph, _aten.clone.default, node)
            names = [symbols[symbol] for symbol in layout.symbols]
            results[place] = _call(graph, layout, results[place], *names)
    graph.output_node().args = (tuple(results),)
    return True


def _joined(place: int, before: Roots, after: Roots) -> bool:
    """Whether an output shares memory with an earlier one, as it did not before."""
    pairs = ((first, place) for first in range(place))
    return any(pair in before.apart and pair not in after.apart for pair in pairs)


def _call(graph: Graph, target: Any, node: Node, *others: Node) -> Node:
    new = graph.call_function(target, (node, *others))
    new.meta = dict(node.meta)
    return new


def _layout(value: Look, symbols: dict[Any, Node]) -> Layout | None:
    steps = list(map(expression_of, value.strides))
    found = {symbol for step in steps if not isinstance(step, int) for symbol in step.free_symbols}
    free = sorted(found, key=str)
    return Layout(tuple(steps), tuple(free)) if all(s in symbols for s in free) else None
