"""Large results are made in memory of the caller's, and nothing that is returned changes later."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deepseek
from deepseek.compiler.compile import CompiledModel

WIDE = 1024  # with 512 rows of fp32 a result of 2 MiB


class Head(nn.Module):
    """A layer with a large result, and what is made of it."""

    def __init__(self, after: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(16, WIDE)
        self.after = after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.layer(x))


def alone(y: Tensor) -> Any:
    return y


def read_by_a_kernel(y: Tensor) -> Any:
    return y, nn.functional.layer_norm(y, (WIDE,))


def read_by_aten(y: Tensor) -> Any:
    return y, y.double().cumsum(1)


def made_by_aten(y: Tensor) -> Any:
    return y.cumsum(1)


def seen_twice(y: Tensor) -> Any:
    return y, y.transpose(0, 1), y[1:]


def of_other_strides(y: Tensor) -> Any:
    return nn.functional.gelu(y).transpose(0, 1)


HANDED = {alone: 1, read_by_a_kernel: 2, read_by_aten: 0, made_by_aten: 0, seen_twice: 0}


def leaves(result: Any) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def handed(compiled: CompiledModel) -> int:
    (compilation,) = compiled.compilations
    (record,) = compilation.program._records.values()
    assert record is not None
    return len(record._results._handed)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "after",
    [alone, read_by_a_kernel, read_by_aten, made_by_aten, seen_twice, of_other_strides],
)
def test_results_are_right_and_stay(after: Callable[[Tensor], Any], threads: int) -> None:
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = Head(after).eval()
        compiled = deepseek.compile(model)
        inputs = [torch.randn(512, 16) for _ in range(6)]
        got = [leaves(compiled(x)) for x in inputs]
        with torch.no_grad():
            expected = [leaves(model(x)) for x in inputs]
    finally:
        torch.set_num_threads(before)
    for results, right in zip(got, expected, strict=True):
        for a, b in zip(results, right, strict=True):
            assert a.stride() == b.stride()
            torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5)
    if after in HANDED:
        assert handed(compiled) == HANDED[after]


def test_a_caller_may_change_what_it_was_given() -> None:
    torch.manual_seed(0)
    model = Head(alone).eval()
    compiled = deepseek.compile(model)
    x = torch.randn(512, 16)
    with torch.no_grad():
        expected = model(x)
    for _ in range(5):
        result = compiled(x)
        torch.testing.assert_close(result, expected, rtol=2e-5, atol=2e-5)
        result.zero_()


def test_small_results_are_copied() -> None:
    compiled = deepseek.compile(Head(alone).eval())
    for _ in range(3):
        compiled(torch.randn(300, 16)[:200])
    assert handed(compiled) == 0
