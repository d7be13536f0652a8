"""Views that a recording does not hear of are those that it would have let through."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from deepseek.compiler.views import UNHEARD, VIEWS

aten = torch.ops.aten
CALLS = {
    aten.view.default: ([6, 4],),
    aten.slice.Tensor: (-1, 1, 3, 2),
    aten.select.int: (1, -2),
    aten.transpose.int: (0, -1),
    aten.permute.default: ([2, 0, 1],),
    aten.expand.default: ([5, 2, 3, 4],),
    aten.unsqueeze.default: (-1,),
    aten.squeeze.dim: (0,),
    aten.squeeze.dims: ([0, 1],),
    aten.t.default: (),
    aten.alias.default: (),
    aten.detach.default: (),
    aten.split.Tensor: (2, -1),
    aten.split_with_sizes.default: ([1, 3], 2),
    aten.reshape.default: ([4, 6],),
}


class Hears(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.heard.append(func)
        return func(*args, **(kwargs or {}))


def look(x: Tensor) -> tuple[Any, ...]:
    return x.shape, x.stride(), x.data_ptr(), x.dtype


def test_all_views_stand_here() -> None:
    assert set(UNHEARD) == set(CALLS) == {*VIEWS, aten.reshape.default}


@pytest.mark.parametrize("func", CALLS, ids=str)
def test_the_same_view(func: Any) -> None:
    x = torch.randn(3, 4) if func is aten.t.default else torch.randn(2, 3, 4)
    with Hears() as mode:
        found = UNHEARD[func](x, *CALLS[func])
    assert mode.heard == []
    expected = func(x, *CALLS[func])
    if isinstance(expected, Tensor):
        found, expected = [found], [expected]
    assert [look(each) for each in found] == [look(each) for each in expected]


def test_arguments_by_name() -> None:
    x = torch.randn(2, 3)
    assert look(UNHEARD[aten.slice.Tensor](x, dim=1, end=2)) == look(x[:, :2])
    assert look(UNHEARD[aten.view.default](x, size=[6])) == look(x.view(6))


def test_a_reshape_that_copies_is_heard() -> None:
    x = torch.randn(2, 3).t()
    with Hears() as mode:
        found = UNHEARD[aten.reshape.default](x, [6])
    assert mode.heard
    assert torch.equal(found, x.reshape(6))


@pytest.mark.parametrize("func", [aten.view.default, aten.transpose.int], ids=str)
def test_errors_are_those_of_the_operator(func: Any) -> None:
    bad = ([5],) if func is aten.view.default else (0, 7)
    errors = []
    for call in (func, UNHEARD[func]):
        with pytest.raises((RuntimeError, IndexError)) as caught:
            call(torch.randn(2, 3), *bad)
        errors.append((caught.type, str(caught.value)))
    assert errors[0] == errors[1]
