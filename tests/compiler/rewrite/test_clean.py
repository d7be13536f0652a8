"""What does nothing is removed, what is constant is computed once, equal calls are made once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import Graph
from torch.fx.experimental.proxy_tensor import make_fx

from deepseek.compiler.rewrite.clean import drop_idle, fold_constants, join_views, merge_equals

aten = torch.ops.aten


def graph_of(function: Callable[..., Any], *inputs: Tensor) -> Graph:
    graph = make_fx(function, tracing_mode="fake", pre_dispatch=True)(*inputs).graph
    graph.eliminate_dead_code()
    return graph


def called(graph: Graph) -> list[Any]:
    return [node.target for node in graph.nodes if node.op == "call_function"]


IDLE: dict[str, Callable[[Tensor], Tensor]] = {
    "dropout": lambda x: torch.dropout(x, 0.5, False),
    "its own dtype": lambda x: aten.to.dtype(x, torch.float32),
    "all of it": lambda x: aten.slice.Tensor(x, 0, 0, 2**63 - 1),
    "its own sizes": lambda x: aten.view.default(x, [3, 4]),
    "times one": lambda x: x * 1.0,
    "by one": lambda x: x / 1,
}
BUSY: dict[str, Callable[[Tensor], Tensor]] = {
    "dropout": lambda x: torch.dropout(x, 0.5, True),
    "another dtype": lambda x: aten.to.dtype(x, torch.bfloat16),
    "a part": lambda x: aten.slice.Tensor(x, 0, 1, 2**63 - 1),
    "every other": lambda x: aten.slice.Tensor(x, 0, 0, 2**63 - 1, 2),
    "plus zero, which makes 0.0 of -0.0": lambda x: x + 0,
    "times two": lambda x: x * 2.0,
}


@pytest.mark.parametrize("name", IDLE)
def test_idle_operators_go(name: str) -> None:
    graph = graph_of(lambda x: IDLE[name](x).cumsum(0), torch.randn(3, 4))
    drop_idle(graph, {})
    assert called(graph) == [aten.cumsum.default]


@pytest.mark.parametrize("name", BUSY)
def test_others_stay(name: str) -> None:
    graph = graph_of(lambda x: BUSY[name](x).cumsum(0), torch.randn(3, 4))
    before = called(graph)
    drop_idle(graph, {})
    assert called(graph) == before
    assert len(before) == 2


def test_changes_of_shape_are_joined() -> None:
    graph = graph_of(lambda x: x.view(12).view(2, 6).view(4, 3).cumsum(0), torch.randn(3, 4))
    join_views(graph, {})
    assert called(graph) == [aten.reshape.default, aten.cumsum.default]


def test_equal_calls_are_made_once() -> None:
    graph = graph_of(lambda x: x.cos() + x.cos() * x.sum(0) + x.sum(1)[0], torch.randn(4, 4))
    merge_equals(graph, {})
    targets = called(graph)
    assert targets.count(aten.cos.default) == 1
    assert targets.count(aten.sum.dim_IntList) == 2


def test_random_numbers_are_drawn_each_time() -> None:
    graph = graph_of(lambda x: torch.rand_like(x) - torch.rand_like(x), torch.randn(4, 4))
    merge_equals(graph, {})
    assert called(graph).count(aten.rand_like.default) == 2


def test_what_is_constant_is_computed_once() -> None:
    weight = torch.randn(4, 4)
    graph = graph_of(lambda x, w: x + (w.t() * 2).exp(), torch.randn(4, 4), weight)
    constants = {graph.find_nodes(op="placeholder")[1]: weight}
    fold_constants(graph, constants)
    assert called(graph) == [aten.add.Tensor]
    torch.testing.assert_close(list(constants.values())[-1], (weight.t() * 2).exp())


def test_a_constant_that_would_be_large_is_not_kept() -> None:
    weight = torch.randn(1, 4)
    graph = graph_of(lambda x, w: x + w.repeat(1 << 19, 1), torch.randn(4), weight)
    before = called(graph)
    fold_constants(graph, {graph.find_nodes(op="placeholder")[1]: weight})
    assert called(graph) == before
