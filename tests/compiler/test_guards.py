"""A graph is used for the inputs whose shapes keep what was assumed of them, and for no others."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deepseek.compiler.capture import Captured, capture, flatten


class Calls(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def captured(function: Callable[..., Tensor], *shapes: tuple[int, ...]) -> Captured:
    return capture(Calls(function).eval(), flatten(tuple(map(torch.zeros, shapes)), {}))


def fits(graph: Captured, *shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> bool:
    tensors = tuple(torch.zeros(shape, dtype=dtype) for shape in shapes)
    return graph.fits(flatten(tensors, {}))


CASES = [
    # function, shapes it was captured with, shapes that fit, shapes that do not
    (lambda x: x * 2, ((3, 4),), [((5, 9),), ((2, 2),)], [((3, 4, 1),), ((3,),)]),
    (lambda x, y: x + y, ((3, 4), (3, 4)), [((5, 9), (5, 9))], [((5, 9), (5, 8))]),
    (lambda x: x.view(-1, 4), ((3, 8),), [((5, 8),), ((2, 12),)], [((5, 7),)]),
    (lambda x: x @ torch.ones(4, 2), ((3, 4),), [((9, 4),)], [((9, 5),)]),
    (lambda x: x if x.shape[0] > 5 else -x, ((3, 4),), [((5, 7),)], [((6, 7),)]),
    (lambda x, y: torch.cat([x, y])[: x.shape[0]], ((3,), (4,)), [((5,), (2,))], [((5,),)]),
]


@pytest.mark.parametrize(("function", "shapes", "good", "bad"), CASES)
def test_shapes(
    function: Callable[..., Tensor],
    shapes: tuple[tuple[int, ...], ...],
    good: list[tuple[tuple[int, ...], ...]],
    bad: list[tuple[tuple[int, ...], ...]],
) -> None:
    graph = captured(function, *shapes)
    assert fits(graph, *shapes)
    assert all(fits(graph, *each) for each in good)
    assert not any(fits(graph, *each) for each in bad)


def test_another_dtype_does_not_fit() -> None:
    graph = captured(lambda x: x * 2, (3, 4))
    assert fits(graph, (3, 4))
    assert not fits(graph, (3, 4), dtype=torch.float64)


def test_another_constant_argument_does_not_fit() -> None:
    class Powers(nn.Module):
        def forward(self, x: Tensor, power: int) -> Tensor:
            return x**power

    graph = capture(Powers().eval(), flatten((torch.ones(3), 2), {}))
    assert graph.fits(flatten((torch.ones(3), 2), {}))
    assert not graph.fits(flatten((torch.ones(3), 3), {}))


def test_symbols_have_the_values_that_shapes_give_them() -> None:
    guards = captured(lambda x: x * 2, (3, 4)).guards
    values = guards.symbols([torch.zeros(7, 9)])
    assert values is not None
    assert sorted(values.values()) == [7, 9]
    assert guards.symbols([torch.zeros(7, 9), torch.zeros(1)]) is None


def test_conditions_on_strides() -> None:
    """Torch gives strides of inputs with gaps symbols of their own, and may ask about them."""

    def spread(x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], 4, 8).transpose(1, 2) @ torch.ones(8, 8)

    whole = torch.zeros(2, 9, 32)
    graph = capture(Calls(spread).eval(), flatten((whole[:, :6],), {}))
    assert graph.fits(flatten((whole[:, :6],), {}))
    assert graph.fits(flatten((whole[:, :4],), {}))
