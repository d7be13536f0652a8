"""Every operator of torch's own database gives under the backend what it gives in eager mode.

Value, shape, strides, dtype and errors are compared, for the first samples of each operator. What
torch.compile itself does otherwise, it does with ``aot_eager`` too, and that is then the reference.
"""

import importlib.util
import itertools
import sys
import unittest
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from deepseek.compiler.backend import deepseek


def database() -> list[Any]:
    """torch's descriptions of its operators; a test library that their module names is not used."""
    name = "expecttest"
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].TestCase = unittest.TestCase
    from torch.testing._internal.common_methods_invocations import op_db

    return list(op_db)


DTYPES = (torch.float32, torch.bfloat16, torch.int64)
SAMPLES = 3
TOLERANCES = {("log_softmax", torch.bfloat16): {"rtol": 1.6e-2, "atol": 1e-2}}
"""Where torch's own tolerances do not hold. ATen loses what is small beside the largest:
of -0.003791 it makes 0, the kernel -0.003784, which is the nearest number of bf16."""

CALLS = 3  # in Python, recorded, replayed

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("_fresh"),
]

QUICK = frozenset((
    "nn.functional.linear", "nn.functional.layer_norm", "nn.functional.softmin",
    "nn.functional.scaled_dot_product_attention", "nn.functional.gelu",
    "softmax", "log_softmax", "matmul", "addmm",
    "nn.functional.silu", "nn.functional.embedding", "nn.functional.rms_norm", "add", "mul",
    "expand", "as_strided", "t", "view", "nonzero", "sort", "conj", "cat", "split", "index_put",
    "nn.functional.dropout",
))  # fmt: skip
"""Operators that kernels stand for, and some of each kind that they must leave alone."""

QUICK_IN_BF16 = frozenset(
    f"{name}-bfloat16" for name in ("nn.functional.linear", "softmax", "log_softmax", "add")
)

UNCOMPARED = {
    "empty": "its content is not defined",
    "empty_like": "its content is not defined",
    "empty_permuted": "its content is not defined",
    "empty_strided": "its content is not defined",
    "new_empty": "its content is not defined",
    "new_empty_strided": "its content is not defined",
}
"""Operators whose numbers are not compared, and why."""


@pytest.fixture
def _fresh() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def cases() -> list[Any]:
    found = []
    for operator, dtype in itertools.product(database(), DTYPES):
        if dtype in operator.supported_dtypes("cpu"):
            name = f"{operator.full_name}-{str(dtype).removeprefix('torch.')}"
            quick = name in QUICK_IN_BF16 or (operator.name in QUICK and dtype == torch.float32)
            marks = () if quick else pytest.mark.slow
            found.append(pytest.param(operator, dtype, id=name, marks=marks))
    return found


def fresh(tree: Any) -> Any:
    """The same arguments again: an operator may change them."""

    def copy(x: Any) -> Any:
        return x.detach().clone() if isinstance(x, Tensor) else x

    return pytree.tree_map(copy, tree)


def outcome(function: Any, sample: Any) -> Any:
    """The results and the arguments afterwards, or the kind of error."""
    torch.manual_seed(7)
    arguments = fresh((sample.input, sample.args, sample.kwargs))
    first, args, kwargs = arguments
    try:
        with torch.no_grad():
            result = function(first, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - whatever eager mode raises
        return error
    return result, arguments


def differences(
    got: Any, expected: Any, *, numbers: bool = True, tolerance: Any = None
) -> list[str]:
    if isinstance(got, Exception) or isinstance(expected, Exception):
        return [] if type(got) is type(expected) else [f"{got!r} for {expected!r}"[:300]]
    (mine, tree), (theirs, other) = map(pytree.tree_flatten, (got, expected))
    if tree != other:
        return [f"{tree} for {other}"]
    pairs = zip(mine, theirs, strict=True)
    return [text for a, b in pairs for text in _differ(a, b, numbers, tolerance or {})]


def _differ(a: Any, b: Any, numbers: bool, tolerance: Any) -> list[str]:
    if not isinstance(a, Tensor):
        return [] if a == b or a != a else [f"{a} for {b}"]
    looks = [(x.dtype, x.shape, x.layout, _strides(x)) for x in (a, b)]
    if looks[0] != looks[1]:
        return [f"{looks[0]} for {looks[1]}"]
    if not numbers:
        return []
    try:
        torch.testing.assert_close(a, b, equal_nan=True, **tolerance)
    except AssertionError as error:
        return [str(error)]
    return []


def _strides(x: Tensor) -> tuple[int, ...]:
    """Those that matter: no step is taken in a dimension of one."""
    if x.layout != torch.strided or not x.numel():
        return ()
    return tuple(step for n, step in zip(x.shape, x.stride(), strict=True) if n != 1)


@pytest.mark.parametrize(("operator", "dtype"), cases())
def test_an_operator_does_what_it_does_in_eager_mode(operator: Any, dtype: torch.dtype) -> None:
    def call(*args: Any, **kwargs: Any) -> Any:
        return operator.op(*args, **kwargs)

    how = {
        "numbers": operator.name not in UNCOMPARED,
        "tolerance": TOLERANCES.get((operator.name, dtype)),
    }
    fast = torch.compile(call, backend=deepseek)
    torch.manual_seed(0)
    for sample in itertools.islice(operator.sample_inputs("cpu", dtype), SAMPLES):
        expected = outcome(call, sample)
        for _ in range(CALLS):
            wrong = differences(outcome(fast, sample), expected, **how)
            if wrong:
                plain = outcome(torch.compile(call, backend="aot_eager"), sample)
                wrong = differences(outcome(fast, sample), plain, **how)
            assert wrong == []


FAILING = frozenset(("add", "cat", "softmax", "nn.functional.rms_norm", "t", "view"))


def failing() -> list[Any]:
    found = []
    for operator in database():
        if operator.error_inputs_func is not None:
            marks = () if operator.name in FAILING else pytest.mark.slow
            found.append(pytest.param(operator, id=operator.full_name, marks=marks))
    return found


@pytest.mark.parametrize("operator", failing())
def test_an_operator_fails_as_it_fails_in_eager_mode(operator: Any) -> None:
    """With an error of the same kind, or of the kind that torch.compile makes of it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return operator.op(*args, **kwargs)

    fast = torch.compile(call, backend=deepseek)
    for error in itertools.islice(operator.error_inputs("cpu"), SAMPLES):
        sample = error.sample_input
        expected, got = outcome(call, sample), outcome(fast, sample)
        if type(got) is not type(expected):
            expected = outcome(torch.compile(call, backend="aot_eager"), sample)
        assert isinstance(got, Exception) == isinstance(expected, Exception)
        assert type(got) is type(expected)
