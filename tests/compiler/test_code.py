"""The text of a graph does what the graph says, and holds no tensor longer than it is needed."""

import operator
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule

from deepseek.compiler.code import Code


def graph_of(build: Any, inputs: int) -> Graph:
    graph = Graph()
    graph.output(build(graph, *(graph.placeholder(f"x{place}") for place in range(inputs))))
    graph.lint()
    return graph


def kinds(*args: Any, **named: Any) -> tuple[Any, ...]:
    return args, named


VALUES = [
    1, -1.5, float("inf"), True, None, "it's", 2j, torch.float16, torch.device("cpu"),
    torch.channels_last, [1, [2.5, None]], (3,), (), {"a": (4, [5])}, slice(1, None, 2),
    slice(None), torch.Size([2, 3]), 2**70,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_constants_arrive_as_they_are(value: Any) -> None:
    def build(graph: Graph, x: Any) -> Any:
        return graph.call_function(kinds, (value, [x, value]), {"named": {"key": (x, value)}})

    expected = kinds(value, [7, value], named={"key": (7, value)})
    assert Code(graph_of(build, 1)).function()(7) == expected


def test_nodes_are_found_wherever_they_stand() -> None:
    def build(graph: Graph, x: Any, y: Any) -> Any:
        part = graph.call_function(operator.getitem, (x, (slice(y, None), y)))
        return {"part": part, "inputs": [x, (y,)]}

    x = torch.arange(12).view(3, 4)
    found = Code(graph_of(build, 2)).function()(x, 1)
    assert torch.equal(found["part"], x[1:, 1])
    assert found["inputs"] == [x, (1,)]


def test_it_computes_what_torch_makes_of_the_graph() -> None:
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    captured = torch.export.export(model, (torch.randn(2, 5, 16),)).module()
    assert isinstance(captured, GraphModule)
    graph, values = Graph(), {}
    parameters = dict(captured.named_parameters())
    inputs = []
    for node in captured.graph.nodes:
        if node.op == "get_attr":
            values[node] = graph.placeholder(node.name)
            inputs.append(parameters[node.target])
        elif node.op == "placeholder":
            values[node] = graph.placeholder(node.name)
            inputs.append(torch.randn(2, 5, 16))
        elif node.op != "call_module":
            values[node] = graph.node_copy(node, values.__getitem__)
    with torch.no_grad():
        expected = GraphModule(nn.Module(), graph).forward(*inputs)
        found = Code(graph).function()(*inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_what_is_used_no_more_is_let_go() -> None:
    alive: list[Any] = []

    def made(x: Tensor) -> Tensor:
        result = x + 1
        alive.append(weakref.ref(result))
        return result

    def look(*_: Any) -> list[bool]:
        return [each() is not None for each in alive]

    def build(graph: Graph, x: Any) -> Any:
        first = graph.call_function(made, (x,))
        second = graph.call_function(made, (first,))
        graph.call_function(made, (x,))  # nobody takes it
        before = graph.call_function(look, (second,))
        return before, graph.call_function(look)

    before, after = Code(graph_of(build, 1)).function()(torch.ones(2))
    assert before == [False, True, False]
    assert after == [False, False, False]


def test_another_function_takes_the_place_of_one_that_is_named() -> None:
    def build(graph: Graph, x: Any) -> Any:
        return graph.call_function(operator.neg, (graph.call_function(operator.abs, (x,)),))

    code = Code(graph_of(build, 1))
    assert code.function({operator.neg: lambda x: x + 100})(-3) == 103
    assert code.function()(-3) == -3


def test_a_call_of_a_module_is_refused() -> None:
    graph = Graph()
    graph.output(graph.call_module("layer", (graph.placeholder("x"),)))
    with pytest.raises(RuntimeError, match="not of a kind that programs have"):
        Code(graph)
