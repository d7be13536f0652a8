"""Compiled models of many architectures give what the models give."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import deepseek
from deepseek.compiler.caches import register
from tests.compiler.architectures.case import Case
from tests.compiler.architectures.table import ARCHITECTURES

TOLERANCE = 2e-5  # of the largest magnitude
CALLS = 3  # in Python, recorded, replayed

REFUSED = {
    "led": "it pads to a multiple of its window that follows from the text",
    "dbrx": "it hands out words to experts by what they hold",
    "vilt": "it counts the patches that a mask shows",
    "switch transformers": "it hands out words to experts by what they hold",
}  # fmt: skip


def cases() -> list[Any]:
    marks = {False: pytest.mark.slow, True: ()}
    return [
        pytest.param(name, case, marks=marks[case.quick], id=name)
        for name, case in ARCHITECTURES.items()
    ]


def leaves(outputs: Any) -> list[Any]:
    register()
    return pytree.tree_leaves(outputs)


def assert_equal(got: Any, expected: Any) -> None:
    left, right = leaves(got), leaves(expected)
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        if isinstance(a, Tensor) and a.is_floating_point():
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            largest = b[b.isfinite()].abs().amax().item() if b.isfinite().any() else 0.0
            torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE * largest, equal_nan=True)
        else:
            assert torch.equal(a, b) if isinstance(a, Tensor) else a == b


@pytest.mark.filterwarnings("ignore")  # transformers warns of much
@pytest.mark.parametrize(("name", "case"), cases())
def test_compiled_equals_eager(name: str, case: Case) -> None:
    model = case.model()
    compiled = deepseek.compile(model)
    for batch, length in case.sizes:
        for seed in range(CALLS):
            with torch.no_grad():
                expected = model(**case.call(model, batch, length, seed))
            assert_equal(compiled(**case.call(model, batch, length, seed)), expected)
    assert (compiled.refusal is not None) == (name in REFUSED), compiled.refusal
    if name not in REFUSED:
        assert compiled.compilations


def test_there_are_enough_of_them() -> None:
    assert len({case.model_type for case in ARCHITECTURES.values()}) >= 100
    assert 10 <= sum(case.quick for case in ARCHITECTURES.values()) <= 16
