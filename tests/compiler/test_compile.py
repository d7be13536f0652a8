"""Compiled models give what the models give, whatever the sizes, and however often."""

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import deepseek
from deepseek.compiler import arena
from deepseek.compiler.frozen import Frozen
from deepseek.compiler.record import Recorder
from deepseek.errors import InputError
from tests.compiler.conftest import MODELS, at_once

Case = tuple[nn.Module, Callable[[int, int], dict[str, Tensor]]]
TOLERANCE = 2e-5
CALLS = 3  # recorded, replayed, and replayed again


@pytest.fixture(scope="module", params=MODELS)
def shared(request: pytest.FixtureRequest) -> tuple[Any, nn.Module, Any]:
    """A compiled model, the model, and a function (batch, length) that makes inputs for both."""
    torch.manual_seed(0)
    make, inputs = MODELS[request.param]
    model = make().eval()
    return deepseek.compile(model), model, inputs


def eager(model: nn.Module, inputs: dict[str, Tensor]) -> Any:
    with torch.no_grad():
        return model(**inputs)


def assert_close(got: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    assert type(got) is type(expected)
    (left, left_tree), (right, right_tree) = map(pytree.tree_flatten, (got, expected))
    assert left_tree == right_tree
    for a, b in zip(left, right, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.mark.parametrize(
    ("mode", "batch"), [(torch.no_grad, 3), (torch.inference_mode, 4)], ids=["no_grad", "inference"]
)
def test_models_give_the_same_every_time(shared: Any, mode: Any, batch: int) -> None:
    compiled, model, make = shared
    for _ in range(CALLS):
        inputs = make(batch, 17)
        with mode():
            assert_close(compiled(**inputs), eager(model, inputs))
    assert compiled.refusal is None


def test_a_mask_that_is_spread_out_stays_as_it_is() -> None:
    """What a graph computes from sizes alone is made once, and must outlive the recording."""

    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = x.view(*x.shape[:2], 3, 2, 16).permute(2, 0, 3, 1, 4)
            seen = torch.arange(x.shape[1])[:, None] >= 0
            seen = seen.expand(x.shape[0], 1, x.shape[1], x.shape[1])
            return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)

    compiled = deepseek.compile(Model().eval())
    with torch.inference_mode():
        for _ in range(CALLS):
            x = torch.randn(2, 64, 96)
            assert_close(compiled(x), Model()(x))
            del x


def test_fifty_shapes_are_one_compilation(shared: Any) -> None:
    compiled, model, make = shared
    served = set()
    sizes = torch.randint(2, 40, (50, 2), generator=torch.Generator().manual_seed(1))
    for batch, length in sizes.tolist():
        inputs = make(batch, length)
        assert_close(compiled(**inputs), eager(model, inputs))
        served.add(id(compiled.compiled_for(**inputs)))
    assert len(served) == 1


def test_one_text_may_take_a_graph_of_its_own(shared: Any) -> None:
    compiled, model, make = shared
    for batch, length in ((2, 9), (1, 9), (1, 12), (5, 9)):
        for _ in range(CALLS):
            inputs = make(batch, length)
            assert_close(compiled(**inputs), eager(model, inputs))
    assert len(compiled.compilations) <= 2


def test_int8_is_close(model_and_inputs: Case) -> None:
    model, make = model_and_inputs
    inputs = make(2, 11)
    got, expected = deepseek.compile(model, precision="int8")(**inputs)[0], eager(model, inputs)[0]
    assert torch.cosine_similarity(got.flatten(), expected.flatten(), dim=0) > 0.99
    assert not torch.equal(got, expected)


def test_nothing_is_left_to_torch_but_what_has_no_kernel() -> None:
    make, inputs = MODELS["gpt2"]
    compiled = deepseek.compile(make().eval())
    given = inputs(2, 8)
    compilation = compiled.compiled_for(**given)
    record = compilation.program.record(list(given.values()))
    assert [type(step) for step in record.steps] == [tuple]  # one native call


def test_a_result_is_not_overwritten_by_the_next_call() -> None:
    layer = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8)).eval()
    compiled = deepseek.compile(layer)
    inputs = [torch.randn(3, 8) for _ in range(6)]
    results = [compiled(x) for x in inputs]
    with torch.no_grad():
        for x, y in zip(inputs, results, strict=True):
            torch.testing.assert_close(y, layer(x))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y * 2 if x.sum() > 0 else y.softmax(-1)


@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.filterwarnings("ignore::FutureWarning:torch")
def test_a_model_that_cannot_be_captured_is_compiled_in_parts(
    caplog: pytest.LogCaptureFixture, graphs: list[Frozen]
) -> None:
    model = Branches().eval()
    compiled = deepseek.compile(model)
    with caplog.at_level(logging.WARNING, "deepseek.compiler"):
        for sign in (1, -1, 1, -1):
            x = sign * torch.ones(3, 4)
            with torch.no_grad():
                torch.testing.assert_close(compiled(x), model(x))
    assert compiled.refusal
    assert len(caplog.records) == 1
    assert "Branches is compiled in parts, by torch.compile: " in caplog.text
    programs = [graph.program for graph in graphs if graph.program is not None]
    names = [
        node.target.__name__ for p in programs for node in p.graph.nodes if callable(node.target)
    ]
    assert "linear" in names


def test_where_dynamo_fails_too_the_model_runs_as_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import Unsupported

    def broken(*_given: object) -> None:
        raise Unsupported("no frames today")

    monkeypatch.setattr(torch, "compile", lambda *_given, **_named: broken)
    model = Branches().eval()
    compiled = deepseek.compile(model)
    with caplog.at_level(logging.WARNING, "deepseek.compiler"):
        for sign in (1, -1):
            x = sign * torch.ones(3, 4)
            with torch.no_grad():
                torch.testing.assert_close(compiled(x), model(x))
    assert "Branches runs uncompiled: no frames today" in caplog.text
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        compiled(torch.ones(3, 5))


class Chooses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0].exp()


def test_shapes_that_follow_from_content() -> None:
    compiled = deepseek.compile(Chooses().eval())
    for seed in range(6):
        x = torch.randn(20, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(compiled(x), Chooses()(x))


def test_what_cannot_be_recorded_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    enter = Recorder.__enter__
    monkeypatch.setattr(Recorder, "__enter__", lambda self: tried.append(self) or enter(self))
    compiled = deepseek.compile(Chooses().eval())
    for size in (20, 21, 20):
        compiled(torch.ones(size))
    assert len(set(map(id, tried))) == 1


class Sums(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x * 2, 0) + 1


def test_a_call_that_does_not_fit_into_the_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "_MOST", 8 << 20)
    compiled = deepseek.compile(Sums().eval())
    for rows in (1 << 10, 1 << 22, 1 << 10):
        x = torch.ones(rows)
        for _ in range(CALLS):
            assert torch.equal(compiled(x), Sums()(x))


class Changes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x + 1
        y.mul_(2)
        z = y[1:]
        z.add_(3)
        return y.relu_()


def test_changes_in_place_of_what_is_the_models_own() -> None:
    compiled = deepseek.compile(Changes().eval())
    for _ in range(CALLS):
        x = torch.randn(5)
        torch.testing.assert_close(compiled(x), Changes()(x))


class ChangesInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.add_(1)


def test_a_change_of_the_input_reaches_the_caller() -> None:
    compiled = deepseek.compile(ChangesInput().eval())
    for _ in range(CALLS):
        x = torch.zeros(3)
        torch.testing.assert_close(compiled(x), torch.ones(3))
        torch.testing.assert_close(x, torch.ones(3))


class Draws(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


def test_random_numbers_are_new_each_time() -> None:
    compiled = deepseek.compile(Draws().eval())
    x = torch.zeros(100)
    results = [compiled(x) for _ in range(6)]
    assert all(not torch.equal(a, b) for a, b in pairwise(results))


class Tables(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(10, 8), nn.Embedding(4, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, ids: Tensor, places: Tensor) -> Tensor:
        y: Tensor = self.norm(self.words(ids) + self.places(places))
        return y


def test_an_id_out_of_range_is_found_in_a_replay_too() -> None:
    model = Tables().eval()
    compiled = deepseek.compile(model)
    places = torch.arange(4).expand(2, 4)
    good, bad = torch.zeros(2, 4, dtype=torch.long), torch.full((2, 4), 10)
    for _ in range(CALLS):
        compiled(good, places)
    with pytest.raises(InputError, match="below 10, got 10"):
        compiled(bad, places)
    with torch.no_grad():
        torch.testing.assert_close(compiled(good, places), model(good, places))


@pytest.mark.parametrize("shape", [(0, 8), (2, 0, 8)])
def test_empty_inputs(shape: tuple[int, ...]) -> None:
    layer = nn.Sequential(nn.Linear(8, 5), nn.GELU(), nn.LayerNorm(5)).eval()
    compiled = deepseek.compile(layer)
    for _ in range(CALLS):
        assert compiled(torch.empty(shape)).shape == (*shape[:-1], 5)


def test_nan_and_infinity_pass_through_as_in_torch() -> None:
    layer = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Softmax(-1)).eval()
    x = torch.randn(4, 8)
    x[0, 0], x[1, 1], x[2, 2] = torch.nan, torch.inf, -torch.inf
    compiled = deepseek.compile(layer)
    for _ in range(CALLS):
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), layer(x), equal_nan=True)


def test_double_precision_and_integers_are_left_to_torch() -> None:
    layer = nn.Linear(8, 8).double().eval()
    compiled = deepseek.compile(layer)
    x = torch.randn(3, 8, dtype=torch.double)
    for _ in range(CALLS):
        torch.testing.assert_close(compiled(x), layer(x).detach(), rtol=1e-12, atol=0)


def test_threads_of_python_at_once() -> None:
    make_model, make = MODELS["bert"]
    model = make_model().eval()
    compiled = deepseek.compile(model)
    cases = [make(2, 5 + size) for size in range(4)]
    expected = [eager(model, inputs) for inputs in cases]

    def check(case: int) -> None:
        assert_close(compiled(**cases[case]), expected[case])

    at_once(check)
    assert len(compiled.compilations) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_may_change(threads: int) -> None:
    layer = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 64)).eval()
    compiled = deepseek.compile(layer)
    x = torch.randn(300, 256)
    before = torch.get_num_threads()
    try:
        for count in (threads, 3 - threads):
            torch.set_num_threads(count)
            for _ in range(CALLS):
                with torch.no_grad():
                    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-4, atol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_a_model_in_training_is_refused() -> None:
    with pytest.raises(InputError, match=r"call eval\(\)"):
        deepseek.compile(nn.Linear(2, 2))(torch.zeros(1, 2))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InputError, match="got 'fp8'"):
        deepseek.compile(nn.Linear(2, 2), precision="fp8")


def test_under_autocast_the_model_runs_as_it_is() -> None:
    layer = nn.Linear(8, 8).eval()
    compiled = deepseek.compile(layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(torch.randn(2, 8)).dtype == torch.bfloat16
    assert compiled(torch.randn(2, 8)).dtype == torch.float32
