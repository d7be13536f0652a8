"""Quantized layers as one operator each, for whoever traces them."""

import pytest
import torch
from torch import nn

from deepseek.kernels.int8 import quantize_groups
from deepseek.nn.grouped_linear import GroupedLinear
from deepseek.nn.int8_linear import Int8Linear
from deepseek.nn.whole import layers_whole


def int8(symmetric, bias):
    return Int8Linear.from_linear(nn.Linear(64, 24, bias=bias), symmetric=symmetric)


def grouped(bits, zeros, bias):
    linear = nn.Linear(64, 24, bias=bias)
    weight = quantize_groups(linear.weight, bits, 32, zeros=zeros)
    return GroupedLinear.from_quantized(weight, bits, linear)


LAYERS = [
    pytest.param(lambda: int8(False, True), "deepseek.int8_layer.default", id="int8"),
    pytest.param(lambda: int8(True, False), "deepseek.int8_layer.default", id="symmetric"),
    pytest.param(lambda: grouped(4, True, True), "deepseek.grouped_layer.default", id="4 zeros"),
    pytest.param(lambda: grouped(8, False, False), "deepseek.grouped_layer.default", id="8"),
]  # fmt: skip


def operators(exported):
    return [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize(("make", "name"), LAYERS)
def test_one_operator_where_it_is_asked_for(make, name):
    layer, x = make().eval(), torch.randn(5, 64)
    with layers_whole():
        whole = torch.export.export(layer, (x,))
    assert operators(whole) == [name]
    torch.testing.assert_close(whole.module()(x), layer(x))
    plain = torch.export.export(layer, (x,))
    assert not any("deepseek" in operator for operator in operators(plain))


@pytest.mark.parametrize(("make", "name"), LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_operators_keep_torchs_rules(make, name, dtype):
    layer, calls = make().eval().to(dtype), []
    operator = getattr(torch.ops.deepseek, name.split(".")[1]).default

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append((func, args))
            return func(*args, **(kwargs or {}))

    x = torch.randn(2, 3, 64, dtype=dtype)
    with layers_whole(), Watch():
        layer(x)
    (given,) = [args for func, args in calls if func is operator]
    torch.library.opcheck(operator, given)


@pytest.mark.parametrize(("make", "name"), LAYERS)
def test_dynamo_sees_one_graph(make, name):
    layer, x, seen = make().eval(), torch.randn(5, 64), []

    def backend(graph, _inputs):
        seen.append([str(node.target) for node in graph.graph.nodes])
        return graph

    with torch.no_grad():
        compiled = torch.compile(layer, backend=backend, fullgraph=True)
        torch.testing.assert_close(compiled(x), layer(x), rtol=0, atol=0)
    (targets,) = seen
    assert any(name.split(".")[1] in target for target in targets)


def test_layers_are_plain_again_after_a_failure():
    layer = int8(False, True).eval()
    with pytest.raises(ZeroDivisionError), layers_whole():
        _ = 1 / 0
    exported = torch.export.export(layer, (torch.randn(5, 64),))
    assert not any("deepseek" in operator for operator in operators(exported))
