"""A graph as a function of Python's: a line for each call, which lets go of what is used no more.

Whoever runs a graph may give other functions the place of those that it names.
"""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from torch.fx import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch.fx import Graph

    Function = Callable[..., Any]

__all__ = ["Code"]


class Code:
    """The text of a graph, compiled once.

    A graph's own text names each function by its whole path, which is looked up at each call.
    """

    def __init__(self, graph: Graph) -> None:
        """Compile a graph of placeholders, calls of functions, and an output."""
        self._given: dict[str, Any] = {}  # functions and constants by their names in the text
        self._called: list[str] = []
        names: dict[Node, str] = {node: f"v{place}" for place, node in enumerate(graph.nodes)}
        last = _last_uses(graph)
        lines, parameters = [], []
        for node in graph.nodes:
            if node.op == "placeholder":
                parameters.append(names[node])
            elif node.op == "output":
                lines.append(f" return {self._text(node.args[0], names)}")
            else:
                lines.append(f" {names[node]} = {self._call(node, names)}")
            dropped = "".join(f"{names[each]} = " for each in last.get(node, ()))
            if dropped and node.op != "output":
                lines.append(f" {dropped}None")
        text = f"def run({', '.join(parameters)}):\n" + "\n".join(lines)
        whole = compile(text, "<deepseek program>", "exec")
        self._code = next(each for each in whole.co_consts if isinstance(each, CodeType))

    def function(self, stand_ins: Mapping[Any, Function] | None = None) -> Function:
        """A function of all placeholders that returns the output.

        Args:
            stand_ins: What is called in place of a function that the graph names.
        """
        given = dict(self._given)
        for name in self._called if stand_ins else ():
            given[name] = (stand_ins or {}).get(given[name], given[name])
        return FunctionType(self._code, given)

    def _call(self, node: Node, names: Mapping[Node, str]) -> str:
        if node.op != "call_function":
            raise RuntimeError(f"{node.format_node()} is not of a kind that programs have")
        function = self._constant(node.target)
        self._called.append(function)
        values = [self._text(value, names) for value in node.args]
        values += [f"{key}={self._text(value, names)}" for key, value in node.kwargs.items()]
        return f"{function}({', '.join(values)})"

    def _text(self, value: Any, names: Mapping[Node, str]) -> str:
        """An argument as it is written: names, simple numbers, and what is made of them."""
        if isinstance(value, Node):
            return names[value]
        if value is None or type(value) in (bool, int, str):
            return repr(value)
        if isinstance(value, list):
            return f"[{', '.join(self._text(item, names) for item in value)}]"
        if isinstance(value, tuple):
            return f"({''.join(self._text(item, names) + ', ' for item in value)})"
        if isinstance(value, dict):
            pairs = (f"{key!r}: {self._text(item, names)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        if isinstance(value, slice):
            ends = value.start, value.stop, value.step
            return f"slice({', '.join(self._text(end, names) for end in ends)})"
        return self._constant(value)

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._given)}"
        self._given[name] = value
        return name


def _last_uses(graph: Graph) -> dict[Node, list[Node]]:
    """Which nodes are needed for the last time at a node; those that nobody needs, at their own."""
    last: dict[Node, list[Node]] = {}
    seen: set[Node] = set()
    for node in reversed(graph.nodes):
        for each in (node, *node.all_input_nodes):
            if each not in seen:
                seen.add(each)
                last.setdefault(node, []).append(each)
    return last
