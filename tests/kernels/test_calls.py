"""What functions over kernels have in common."""

import itertools

import pytest
import torch

from deepseek.kernels.calls import broadcast_shape

SHAPES = [(), (1,), (3,), (0,), (2, 1), (2, 3), (1, 3), (4, 1, 1), (4, 2, 3), (4, 2, 0)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shapes_are_broadcast_as_torch_does(count):
    for chosen in itertools.product(SHAPES, repeat=count):
        shapes = [torch.Size(shape) for shape in chosen]
        try:
            expected = tuple(torch.broadcast_shapes(*shapes))
        except RuntimeError:
            expected = None
        assert broadcast_shape(shapes) == expected, shapes
