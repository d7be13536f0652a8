"""In bf16, products are rounded and everything between them is not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deepseek
from deepseek.compiler.operators import Attention, Linear, Norm, Softmax
from deepseek.compiler.rewrite import precision
from tests.compiler.conftest import MODELS

CALLS = 3


def first(outputs: Any) -> Tensor:
    return outputs[0] if isinstance(outputs[0], Tensor) else outputs


def error(got: Tensor, exact: Tensor) -> float:
    return float((got.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("name", MODELS)
def test_it_is_closer_to_the_exact_result_than_a_model_in_bf16(name: str) -> None:
    torch.manual_seed(0)
    make, inputs = MODELS[name]
    model = make().eval()
    given = inputs(3, 17)
    compiled = deepseek.compile(model, precision="bf16")
    results = [compiled(**given)[0] for _ in range(CALLS)]
    with torch.no_grad():
        half = {key: x.bfloat16() if x.is_floating_point() else x for key, x in given.items()}
        wide = {key: x.double() if x.is_floating_point() else x for key, x in given.items()}
        rounded = model.bfloat16()(**half)[0]
        torch.manual_seed(0)
        exact = make().eval().double()(**wide)[0]
    assert all(result.dtype == torch.float32 for result in results)
    assert all(torch.equal(result, results[0]) for result in results)
    assert 1e-5 < error(results[0], exact) < min(2e-2, error(rounded, exact))


def calls_of(kind: type, *inputs: Tensor, model: nn.Module) -> list[Any]:
    compiled = deepseek.compile(model.eval(), precision="bf16")
    graph = compiled.compiled_for(*inputs).program.graph
    return [node for node in graph.nodes if isinstance(node.target, kind)]


def dtypes(node: Any) -> list[torch.dtype]:
    return [source.meta["val"].dtype for source in node.all_input_nodes]


class Block(nn.Module):
    def __init__(self, attend: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(32)
        self.wide, self.narrow = nn.Linear(32, 64), nn.Linear(64, 32)
        self.heads = nn.Linear(32, 96)
        self.out = nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.view(*x.shape[:2], 4, 8).transpose(1, 2)
            for part in self.heads(self.norm(x)).split(32, -1)
        )
        seen = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(seen.transpose(1, 2).reshape(x.shape))
        return x + self.narrow(nn.functional.gelu(self.wide(self.norm(x))))


def test_products_read_bf16_and_sums_are_fp32() -> None:
    model, x = Block(), torch.randn(2, 5, 32)
    layers = calls_of(Linear, x, model=model)
    assert [dtypes(node)[0] for node in layers] == [torch.bfloat16] * 4
    sums = [node for node in layers if len(node.args) > 1]
    assert len(sums) == 2
    for node in sums:
        assert dtypes(node)[1] == torch.float32
        assert node.meta["val"].dtype == torch.float32
    (attention,) = calls_of(Attention, x, model=model)
    assert dtypes(attention) == [torch.bfloat16] * 3


def test_between_two_products_nothing_is_widened() -> None:
    model, x = Block(), torch.randn(2, 5, 32)
    wide = next(n for n in calls_of(Linear, x, model=model) if n.target.activation == "gelu")
    assert wide.meta["val"].dtype == torch.bfloat16
    norms = calls_of(Norm, x, model=model)
    assert [node.target.dtype for node in norms] == [torch.bfloat16] * 2
    assert all(dtypes(node)[0] == torch.float32 for node in norms)


@pytest.mark.parametrize("tiles", [False, True])
def test_attention_between_integers_is_bf16_where_tiles_are(
    monkeypatch: pytest.MonkeyPatch, tiles: bool
) -> None:
    monkeypatch.setattr(precision, "has_tiles", lambda: tiles)
    model, x = Block().eval(), torch.randn(2, 5, 32)
    compiled = deepseek.compile(model, precision="int8")
    results = [compiled(x) for _ in range(CALLS)]
    assert all(torch.equal(result, results[0]) for result in results)
    with torch.no_grad():
        assert error(results[0], model(x).double()) < 1e-2
    nodes = compiled.compiled_for(x).program.graph.nodes
    (attention,) = (node for node in nodes if isinstance(node.target, Attention))
    inner = torch.bfloat16 if tiles else torch.float32
    assert dtypes(attention) == [inner] * 3
    layers = [node for node in nodes if isinstance(node.target, Linear)]
    assert [dtypes(node)[0] for node in layers] == [
        torch.float32, inner, torch.float32, torch.float32
    ]  # fmt: skip
    assert [node.meta["val"].dtype for node in layers] == [inner] + [torch.float32] * 3
    assert not any(node.target is torch.ops.aten.to.dtype for node in nodes)


def test_attention_between_floats_stays_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_tiles", lambda: True)
    model, x = Block().eval(), torch.randn(2, 5, 32)
    nodes = deepseek.compile(model).compiled_for(x).program.graph.nodes
    (attention,) = (node for node in nodes if isinstance(node.target, Attention))
    assert dtypes(attention) == [torch.float32] * 3


def test_a_norm_that_is_also_added_stays_fp32() -> None:
    class After(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.layer = nn.LayerNorm(32), nn.Linear(32, 32)

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(x)
            return y + self.layer(y)

    (norm,) = calls_of(Norm, torch.randn(2, 32), model=After())
    assert norm.target.dtype is None


def test_softmax_and_products_of_doubles_are_left_as_they_are() -> None:
    (softmax,) = calls_of(Softmax, torch.randn(2, 32), model=nn.Sequential(nn.Softmax(-1)))
    assert dtypes(softmax) == [torch.float32]
    x = torch.randn(2, 8).double()
    layer = nn.Linear(8, 8).double().eval()
    torch.testing.assert_close(deepseek.compile(layer, precision="bf16")(x), layer(x).detach())
    assert calls_of(Linear, x, model=layer) == []


def test_a_mask_of_the_least_number_stays_finite() -> None:
    class Masked(nn.Module):
        def forward(self, q: Tensor, mask: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=mask)

    q = torch.randn(2, 2, 5, 8)
    mask = torch.full((2, 1, 5, 5), torch.finfo(torch.float32).min)
    got = deepseek.compile(Masked().eval(), precision="bf16")(q, mask)
    torch.testing.assert_close(got, Masked()(q, mask), rtol=0.02, atol=0.02)


def test_rounding_between_kernels_is_a_kernel_too() -> None:
    class After(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.layer = nn.LayerNorm(32), nn.Linear(32, 32)

        def forward(self, x: Tensor) -> Tensor:
            normed = self.norm(x)
            return torch.tanh(normed + self.layer(normed))

    x = torch.randn(2, 5, 32)
    compiled = deepseek.compile(After().eval(), precision="bf16")
    record = compiled.compiled_for(x).program.record([x])
    assert len(record.steps) == 1  # one native call, no operator of torch between launches
    (plain,) = compiled.compiled_for(x).program.run([x])
    assert torch.equal(compiled(x), plain)
