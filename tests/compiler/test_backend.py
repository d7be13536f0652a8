"""torch.compile with this backend gives what eager mode gives, and changes with the parameters."""

import importlib.metadata
import logging
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepseek.compiler import frozen
from deepseek.compiler.backend import deepseek
from tests.compiler.conftest import MODELS, layers, same, through_dynamo

ROOT = Path(__file__).resolve().parents[2]
CALLS = 5

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torch"),
    pytest.mark.usefixtures("fresh_dynamo"),
]


# how it is found


def test_the_package_says_where_the_backend_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["entry-points"]["torch_dynamo_backends"]
    assert named == {"deepseek": "deepseek.compiler.backend:deepseek"}
    entry = importlib.metadata.EntryPoint("deepseek", named["deepseek"], "torch_dynamo_backends")
    assert entry.load() is deepseek


def test_torch_finds_the_backend_by_its_name() -> None:
    installed = importlib.metadata.entry_points(group="torch_dynamo_backends", name="deepseek")
    if not installed:
        pytest.skip("the package was installed before it had this backend")
    layer = nn.Linear(4, 4).eval()
    x = torch.randn(2, 4)
    with torch.no_grad():
        same(torch.compile(layer, backend="deepseek")(x), layer(x))


# inference


@pytest.mark.parametrize(
    "name",
    [name if name == "bert" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS],
)
def test_models_give_the_same_for_all_sizes(name: str, graphs: list[frozen.Frozen]) -> None:
    make_model, make = MODELS[name]
    model = make_model().eval()
    fast = through_dynamo(model, dynamic=True)
    with torch.no_grad():
        for batch, length in ((4, 17), (2, 9), (2, 9), (2, 9), (2, 9), (5, 12)):
            inputs = make(batch, length)
            same(fast(**inputs)[0], model(**inputs)[0])
    assert len(graphs) == 1
    assert graphs[0].program is not None
    targets = {getattr(node.target, "__name__", "") for node in graphs[0].program.graph.nodes}
    assert {"linear", "attention"} <= targets


def test_composite_operators_are_kept_whole(graphs: list[frozen.Frozen]) -> None:
    model = layers().eval()
    with torch.no_grad():
        through_dynamo(model)(torch.randn(3, 8))
    [graph] = graphs
    assert graph.program is not None
    kinds = [getattr(node.target, "__name__", "") for node in graph.program.graph.nodes]
    assert kinds.count("linear") == 2
    assert kinds.count("norm") == 1
    assert kinds.count("softmax") == 1


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients(mode: Any) -> None:
    model = layers().eval()
    fast = through_dynamo(model)
    for _ in range(CALLS):
        x = torch.randn(3, 8)
        with mode():
            got, expected = fast(x), model(x)
        same(got, expected)
        assert got.is_inference() == expected.is_inference()
        assert not got.requires_grad


def test_changed_parameters_are_seen(graphs: list[frozen.Frozen]) -> None:
    model = layers().eval()
    fast = through_dynamo(model)
    x = torch.randn(3, 8)
    with torch.no_grad():
        for turn in range(4):
            for _ in range(3):
                same(fast(x), model(x))
            assert graphs[0].builds == turn + 1
            model[0].weight.mul_(1.5)  # in place
        model[0].bias.data = torch.randn(16)  # elsewhere
        same(fast(x), model(x))
        model[4].weight = nn.Parameter(torch.randn(4, 16))  # another
        same(fast(x), model(x))
        model.load_state_dict(layers().state_dict())
        same(fast(x), model(x))


def test_parameters_that_change_at_every_call_become_inputs(graphs: list[frozen.Frozen]) -> None:
    layer = nn.Linear(8, 8).eval()
    fast = through_dynamo(layer)
    x = torch.randn(3, 8)
    with torch.no_grad():
        for _ in range(30):
            layer.weight.add_(0.1)
            same(fast(x), layer(x))
    assert graphs[0].builds < 12


def test_buffers_that_the_model_changes() -> None:
    model, twin = (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    fast = through_dynamo(model)
    with torch.no_grad():
        for _ in range(CALLS):
            x = torch.randn(6, 4)
            same(fast(x), twin(x))
    for a, b in zip(model.buffers(), twin.buffers(), strict=True):
        same(a, b)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_floating_point_numbers(dtype: torch.dtype) -> None:
    model = layers().eval().to(dtype)
    fast = through_dynamo(model)
    with torch.no_grad():
        for _ in range(CALLS):
            x = torch.randn(3, 8, dtype=dtype)
            torch.testing.assert_close(fast(x), model(x))


def test_autocast() -> None:
    model = layers().eval()
    fast = through_dynamo(model)
    for _ in range(CALLS):
        x = torch.randn(3, 8)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            got, expected = fast(x), model(x)
        assert got.dtype == expected.dtype
        torch.testing.assert_close(got, expected, rtol=2e-2, atol=2e-2)
        with torch.no_grad():
            same(fast(x), model(x))


# what a function does besides computing


def _in_place(x: Tensor) -> Tensor:
    x.add_(1)
    return x.softmax(-1)


def _view_of_input(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[0], x.softmax(-1)


def _the_input(x: Tensor) -> tuple[Tensor, Tensor]:
    return x, x.softmax(-1)


def _a_copy_of_the_input(x: Tensor) -> tuple[Tensor, Tensor]:
    return x * 1, x.softmax(-1)


def _views_of_one_another(x: Tensor) -> tuple[Tensor, Tensor]:
    y = x.softmax(-1)
    return y, y[1:]


def _equal_results(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.softmax(-1), x.softmax(-1)


def _transposed(x: Tensor) -> Tensor:
    return x.t().softmax(-1)


def _expanded(x: Tensor) -> Tensor:
    return x.softmax(-1)[None].expand(3, -1, -1)


FUNCTIONS = [
    _in_place, _view_of_input, _the_input, _a_copy_of_the_input, _views_of_one_another,
    _equal_results, _transposed, _expanded,
]  # fmt: skip


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x.t(), lambda x: x[::2]], ids=str)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_aliases_and_changes_in_place(function: Any, make: Any) -> None:
    fast = through_dynamo(function)
    for _ in range(CALLS):
        x = torch.randn(6, 6)
        mine, theirs = make(x.clone()), make(x.clone())
        got, expected = fast(mine), function(theirs)
        got, expected = ([y] if isinstance(y, Tensor) else list(y) for y in (got, expected))
        for result in (got, expected):
            if result[0].stride()[0]:
                result[0].mul_(2)  # is this seen in the others?
        for a, b in zip(got, expected, strict=True):
            same(a, b)
        same(mine, theirs)


def test_random_numbers_follow_the_seed() -> None:
    def draw(x: Tensor) -> Tensor:
        return torch.dropout(x.softmax(-1), 0.5, True) + torch.rand_like(x)

    fast = through_dynamo(draw)
    x = torch.randn(4, 8)
    for seed in range(CALLS):
        torch.manual_seed(seed)
        got = fast(x)
        torch.manual_seed(seed)
        same(got, draw(x))


def test_graph_breaks() -> None:
    layer = nn.Linear(8, 8).eval()

    def broken(x: Tensor) -> Tensor:
        y = layer(x)
        torch._dynamo.graph_break()
        return layer(y) if y.sum() > 0 else y.softmax(-1)

    fast = through_dynamo(broken)
    with torch.no_grad():
        for _ in range(CALLS):
            for sign in (1, -1):
                x = sign * torch.ones(2, 8)
                same(fast(x), broken(x))


def test_errors_are_those_of_torch() -> None:
    words, places = nn.Embedding(10, 8), nn.Embedding(4, 8)

    def embed(a: Tensor, b: Tensor) -> Tensor:
        return words(a) + places(b)

    fast = through_dynamo(embed)
    good, bad = torch.zeros(2, 4, dtype=torch.long), torch.full((2, 4), 10)
    with torch.no_grad():
        for _ in range(CALLS):
            same(fast(good, good), embed(good, good))
            with pytest.raises(IndexError, match="index out of range"):
                fast(bad, good)


@pytest.mark.parametrize("shape", [(0, 8), (2, 0, 8)])
def test_empty_tensors(shape: tuple[int, ...]) -> None:
    model = layers().eval()
    fast = through_dynamo(model)
    with torch.no_grad():
        for _ in range(CALLS):
            same(fast(torch.empty(shape)), model(torch.empty(shape)))


def test_numbers_among_inputs_and_outputs() -> None:
    def scaled(x: Tensor, factor: float, count: int) -> tuple[Tensor, int, float]:
        return x.softmax(-1) * factor + count, count + x.shape[0], factor * 2

    fast = through_dynamo(scaled, dynamic=True)
    for rows in range(2, 2 + CALLS):
        x = torch.randn(rows, 8)
        for repeat in range(3):
            got, expected = fast(x, 0.5 + repeat, rows), scaled(x, 0.5 + repeat, rows)
            same(got[0], expected[0])
            assert got[1:] == expected[1:]


def test_what_follows_from_content() -> None:
    def positive(x: Tensor) -> Tensor:
        return x.softmax(-1)[x > 0]

    fast = through_dynamo(positive)
    for _ in range(CALLS):
        x = torch.randn(4, 8)
        same(fast(x), positive(x))


def test_complex_numbers() -> None:
    def rotated(x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.view_as_complex(x.softmax(-1).view(4, 4, 2))
        return z.conj(), torch.view_as_real(z * z.conj())

    fast = through_dynamo(rotated)
    for _ in range(CALLS):
        x = torch.randn(4, 8)
        for a, b in zip(fast(x), rotated(x), strict=True):
            same(a, b)


# training


@pytest.mark.parametrize(
    "name",
    [name if name == "llama" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS],
)
def test_gradients_are_those_of_eager(name: str) -> None:
    make_model, make = MODELS[name]
    model = make_model().eval()
    fast = through_dynamo(model)
    for _ in range(2):
        inputs = make(2, 9)
        model.zero_grad()
        model(**inputs)[0].square().mean().backward()
        expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        fast(**inputs)[0].square().mean().backward()
        for name, parameter in model.named_parameters():
            if name in expected:
                torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_a_model_learns_and_is_evaluated_in_between() -> None:
    model, twin = layers(), layers()
    twin.load_state_dict(model.state_dict())
    fast = through_dynamo(model)
    steps = [torch.optim.SGD(each.parameters(), 0.5) for each in (model, twin)]
    for turn in range(4):
        x = torch.randn(6, 8)
        for step, each in zip(steps, (fast, twin), strict=True):
            torch.manual_seed(turn)
            each.train()
            step.zero_grad()
            each(x).square().sum().backward()
            step.step()
        with torch.no_grad():
            same(fast.eval()(x), twin.eval()(x))


def test_a_graph_that_cannot_be_rewritten_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(frozen, "rewrite", broken)
    layer = nn.Linear(8, 8).eval()
    x = torch.randn(2, 8)
    with torch.no_grad(), caplog.at_level(logging.ERROR, "deepseek.compiler"):
        same(through_dynamo(layer)(x), layer(x))
    assert "it could not be rewritten" in caplog.text
    caplog.clear()
