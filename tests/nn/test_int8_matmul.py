"""The integer product is exact, whatever the values and sizes."""

import numpy as np
import pytest
import torch

from deepseek.nn import int8_matmul as module
from deepseek.nn.int8_matmul import int8_matmul

ROUTES = [module._in_integers, module._in_floats]
SIZES = [(1, 1, 1), (1, 7, 9), (5, 3, 33), (17, 31, 65), (3, 2, 1023), (3, 2, 1024), (2, 5, 1025),
         (4, 9, 3073), (2, 4099, 16)]  # fmt: skip


def in_int64(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(a.numpy().astype(np.int64) @ b.numpy().astype(np.int64).T)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("size", SIZES)
def test_random_values(route, size):
    rows, columns, depth = size
    generator = torch.Generator().manual_seed(rows * columns + depth)
    a = torch.randint(-128, 128, (rows, depth), dtype=torch.int8, generator=generator)
    b = torch.randint(-128, 128, (columns, depth), dtype=torch.int8, generator=generator)
    result = route(a, b)
    assert result.dtype == torch.int32
    assert torch.equal(result.long(), in_int64(a, b))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("depth", [1, 31, 1024, 1025, 4096, 5000])
@pytest.mark.parametrize(("left", "right"), [(-128, -128), (-128, 127), (127, 127), (127, -127)])
def test_extreme_values_do_not_saturate(route, depth, left, right):
    a = torch.full((3, depth), left, dtype=torch.int8)
    b = torch.full((5, depth), right, dtype=torch.int8)
    assert torch.equal(route(a, b).long(), torch.full((3, 5), left * right * depth))


def test_float_route_keeps_every_unit_at_the_edge_of_exactness():
    """2**24 - 1 is odd: one term too many in float32 and its last bit is lost."""
    a = torch.full((1, 2049), -128, dtype=torch.int8)
    b = torch.full((1, 2049), -128, dtype=torch.int8)
    a[0, -1], b[0, -1] = 1, 1
    assert module._in_floats(a, b).item() == 2048 * 2**14 + 1


def test_no_rows():
    empty = torch.zeros((0, 8), dtype=torch.int8)
    assert int8_matmul(empty, torch.ones((3, 8), dtype=torch.int8)).shape == (0, 3)


@pytest.mark.parametrize(("vnni", "route"), [(True, "_in_integers"), (False, "_in_floats")])
def test_route_follows_the_processor(monkeypatch, vnni, route):
    monkeypatch.setattr(module, "_HAS_VNNI", vnni)
    monkeypatch.setattr(module, route, lambda _a, _b: route)
    assert int8_matmul(torch.ones(1, 1), torch.ones(1, 1)) == route
