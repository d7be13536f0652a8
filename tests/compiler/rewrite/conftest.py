"""Functions of tensors as models, rewritten; and what is found in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deepseek
from deepseek.compiler.rewrite import passes

CALLS = 3  # in Python, recorded, replayed
Found = Callable[..., list[Any]]


class Written(nn.Module):
    """A function with weights."""

    def __init__(self, function: Callable[..., Any], **weights: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, weight in weights.items():
            self.register_parameter(name, nn.Parameter(weight, requires_grad=False))

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


@pytest.fixture(autouse=True)
def _layers_apart(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers stay nodes of their own in tests of other passes."""
    if "test_chains" not in request.node.nodeid:

        def chain_linears(_graph: Any, _constants: Any) -> None:
            pass

        monkeypatch.setattr(passes, "chain_linears", chain_linears)


@pytest.fixture
def found() -> Found:
    """A function of a model and its inputs: what kernels its graph calls, of some kind.

    The compiled model is also compared with the model.
    """

    def find(kind: Any, model: nn.Module, *inputs: Tensor, atol: float = 2e-6) -> list[Any]:
        compiled = deepseek.compile(model.eval())
        for _ in range(CALLS):
            with torch.no_grad():
                expected = model(*inputs)
            torch.testing.assert_close(compiled(*inputs), expected, rtol=2e-5, atol=atol)
        assert compiled.refusal is None
        graph = compiled.compilations[0].program.graph
        return [
            node
            for node in graph.nodes
            if (isinstance(node.target, kind) if isinstance(kind, type) else node.target is kind)
        ]

    return find
