"""Finds GELU and SiLU where a model writes them out.

There are many spellings of one function. Instead of listing them, the operators between a value
and what is made of it are run on numbers, and compared with the functions that kernels know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx.node import map_arg

from deepseek.compiler.nodes import calls, dtype_of, replace, same_sizes
from deepseek.compiler.rewrite.clean import drop_unused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants

__all__ = ["find_activations"]

_aten = torch.ops.aten
_KERNELS = (_aten.erf.default, _aten.tanh.default, _aten.sigmoid.default)
_SCALINGS = (_aten.mul.Tensor, _aten.div.Tensor, _aten.mul.Scalar, _aten.div.Scalar)
_ADDITIONS = (_aten.add.Tensor, _aten.add.Scalar)
_POWERS = (_aten.pow.Tensor_Scalar,)
_OPERATORS = frozenset((*_KERNELS, *_SCALINGS, *_ADDITIONS, *_POWERS))
_REACH = 4  # operators from erf or tanh to the end of a spelling
_MOST = 12  # values before it that are tried

_FUNCTIONS: tuple[tuple[Callable[[Tensor], Tensor], Any, dict[str, str]], ...] = (
    (torch.nn.functional.gelu, _aten.gelu.default, {}),
    (
        lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        _aten.gelu.default,
        {"approximate": "tanh"},
    ),
    (torch.nn.functional.silu, _aten.silu.default, {}),
)
_POINTS = torch.linspace(-6, 6, 61, dtype=torch.float64)


def find_activations(graph: Graph, _constants: Constants) -> None:
    """Replace written-out activations by the operators that mean them."""
    for node in list(graph.nodes):
        if calls(node, *_KERNELS) and dtype_of(node) in (torch.float32, torch.bfloat16):
            found = next(_matches(node), None)
            if found is not None:
                end, x, target, options = found
                replace(end, target, x, **options)
    drop_unused(graph)


def _matches(kernel: Node) -> Iterator[tuple[Node, Node, Any, dict[str, str]]]:
    for end in _above(kernel):
        for x in _below(kernel):
            value = _computed(end, x)
            if value is None or not same_sizes(end, x):
                continue
            for function, target, options in _FUNCTIONS:
                if torch.allclose(value, function(_POINTS), rtol=1e-6, atol=1e-9):
                    yield end, x, target, options


def _above(node: Node) -> Iterator[Node]:
    """What is made of a node, its only use each time."""
    for _ in range(_REACH):
        if len(node.users) != 1:
            return
        node = next(iter(node.users))
        if node.target not in _OPERATORS:
            return
        yield node


def _below(kernel: Node) -> Iterator[Node]:
    """What the operand of erf, tanh or sigmoid may be computed from, the nearest first."""
    waiting = list(kernel.all_input_nodes)
    for node in waiting:  # it grows
        yield node
        if node.target in _OPERATORS and len(waiting) < _MOST:
            waiting += [source for source in node.all_input_nodes if source not in waiting]


def _computed(end: Node, x: Node) -> Tensor | None:
    """What ``end`` is where ``x`` is each of the points; None if it depends on anything else."""
    values = {x: _POINTS}

    def value(node: Node) -> Tensor | None:
        if node not in values:
            if node.op != "call_function" or node.target not in _OPERATORS or len(values) > 16:
                return None
            if any(value(source) is None for source in node.all_input_nodes):
                return None
            args, kwargs = map_arg((node.args, dict(node.kwargs)), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
        return values[node]

    return value(end)
