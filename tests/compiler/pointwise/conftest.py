"""Graphs to fuse, and what becomes of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from deepseek.compiler.pointwise import Pointwise, fuse_pointwise
from deepseek.kernels.target import KNOWN, host, runs_here

_KINDS = ("x86-64", "haswell", "skylake-avx512", "aarch64")  # each has other code for something
RUNNABLE = [host(), *(KNOWN[name] for name in _KINDS if runs_here(KNOWN[name]))]


@dataclass
class Fused:
    """A function before and after its pointwise operators were fused.

    Attributes:
        plain: The traced graph.
        module: The graph with kernels.
        groups: How many groups were found.
    """

    plain: GraphModule
    module: GraphModule
    groups: int

    @property
    def kernels(self) -> list[Pointwise]:
        return [node.target for node in self.module.graph.nodes if type(node.target) is Pointwise]

    @property
    def left(self) -> list[str]:
        """Operators that are left to torch."""
        return [
            str(node.target)
            for node in self.module.graph.nodes
            if node.op == "call_function" and type(node.target) is not Pointwise
        ]

    def __call__(self, *operands: Any) -> torch.Tensor:
        result: torch.Tensor = self.module(*operands)
        return result


def fused(function: Callable[..., Any], *operands: Any, target: Any = None) -> Fused:
    """Trace a function with symbolic sizes, as export does, and fuse what it holds."""

    def traced(*operands: Any) -> Any:  # functions with defaults cannot be traced themselves
        return function(*operands)

    graphs = [
        make_fx(traced, tracing_mode="symbolic", pre_dispatch=True)(*operands) for _ in range(2)
    ]
    for graph in graphs:
        graph.graph.eliminate_dead_code()
    groups = fuse_pointwise(graphs[1].graph)
    graphs[1].graph.lint()
    graphs[1].recompile()
    result = Fused(graphs[0], graphs[1], groups)
    for kernel in result.kernels:
        kernel.target = target
    return result


@pytest.fixture(name="fused", scope="session")
def fused_fixture() -> Callable[..., Fused]:
    return fused


@pytest.fixture(params=[1, 2, 4], ids=lambda n: f"{n} threads")
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(params=RUNNABLE, ids=lambda target: target.name)
def target(request):
    """Targets that this machine can run, one of each kind."""
    return request.param
