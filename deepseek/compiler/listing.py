"""Graphs and their calls in words, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from deepseek.compiler.nodes import dtype_of, shape_of
from deepseek.compiler.operators import Operator

if TYPE_CHECKING:
    from torch.fx import Graph, Node

__all__ = ["listing", "sizes_in_words", "words_of"]


def words_of(target: Any) -> str:
    """What a node calls."""
    if isinstance(target, Operator):
        return target.describe()
    describe = getattr(target, "describe", None)
    if describe is not None:
        return str(describe())
    name = getattr(target, "name", None)
    return name() if callable(name) else str(getattr(target, "__name__", target))


def sizes_in_words(result: Any) -> str:
    """The sizes of what a call made: ``2x12x64``; several parted by a comma."""
    if isinstance(result, Tensor):
        return "x".join(map(str, result.shape)) or "one number"
    if isinstance(result, (tuple, list)):
        return ", ".join(sizes_in_words(part) for part in result)
    return str(result)


def listing(graph: Graph) -> str:
    """The graph as text: a line for each node, with dtype and sizes of what it makes."""
    return "\n".join(_line(node) for node in graph.nodes) + "\n"


def _line(node: Node) -> str:
    if node.op == "output":
        return f"output {node.args[0]}"
    sizes = shape_of(node)
    kind = str(dtype_of(node)).removeprefix("torch.")
    made = "" if sizes is None else f" : {kind}[{', '.join(map(str, sizes))}]"
    if node.op == "placeholder":
        return f"{node.name} = given{made}"
    arguments = [str(x) for x in node.args] + [f"{k}={v}" for k, v in node.kwargs.items()]
    return f"{node.name} = {words_of(node.target)}({', '.join(arguments)}){made}"
