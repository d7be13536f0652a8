"""Convolutions that cut an image into patches are linear layers; others stay what they are."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deepseek
from deepseek.compiler.operators import Patches
from deepseek.compiler.saved import load, save
from tests.compiler.rewrite.conftest import Found, Written

F = torch.nn.functional
WEIGHTS = {"w": torch.randn(20, 3, 4, 6), "b": torch.randn(20)}


def image(height: int = 12, width: int = 18, batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, height, width)


def cut(m: Written, x: Tensor, **options: Any) -> Tensor:
    return F.conv2d(x, m.w, m.b, **{"stride": (4, 6), **options})


SPELLINGS = {
    "flatten": lambda m, x: cut(m, x).flatten(2).transpose(1, 2) * 2,
    "negative": lambda m, x: cut(m, x).flatten(2).transpose(-1, -2) * 2,
    "view": lambda m, x: cut(m, x).view(x.shape[0], 20, 9).permute(0, 2, 1) * 2,
    "reshape": lambda m, x: cut(m, x).reshape(x.shape[0], 20, -1).transpose(2, 1) * 2,
    "no bias": lambda m, x: F.conv2d(x, m.w, None, (4, 6)).flatten(2).transpose(1, 2) * 2,
}
OTHERS = {
    "overlapping": lambda m, x: cut(m, x, stride=3).flatten(2).transpose(1, 2),
    "padded": lambda m, x: cut(m, x, padding=2).flatten(2).transpose(1, 2),
    "dilated": lambda m, x: cut(m, x, dilation=2).flatten(2).transpose(1, 2),
    "grouped": lambda m, x: (
        F.conv2d(x.repeat(1, 2, 1, 1), m.w, m.b, (4, 6), groups=2).flatten(2).transpose(1, 2)
    ),
    "not turned": lambda m, x: cut(m, x).flatten(2),
    "flat elsewhere": lambda m, x: cut(m, x).flatten(1, 2).transpose(1, 2),
    "read twice": lambda m, x: [f(cut(m, x)) for f in (lambda y: y.flatten(2).mT, Tensor.sum)],
    "weight is no constant": lambda m, x: (
        F.conv2d(x, m.w * x.mean(), m.b, (4, 6)).flatten(2).transpose(1, 2)
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_patches_are_found(found: Found, spelling: str) -> None:
    model = Written(SPELLINGS[spelling], **WEIGHTS)
    (node,) = found(Patches, model, image(), atol=2e-5)
    assert node.target.size == (4, 6)


@pytest.mark.parametrize("spelling", OTHERS)
def test_other_convolutions_stay(found: Found, spelling: str) -> None:
    assert not found(Patches, Written(OTHERS[spelling], **WEIGHTS), image(), atol=5e-5)


@pytest.mark.parametrize("sizes", [(15, 18), (12, 23), (4, 6), (7, 11)])
def test_pixels_of_no_whole_patch_are_left_out(found: Found, sizes: tuple[int, int]) -> None:
    model = Written(SPELLINGS["flatten"], **WEIGHTS)
    assert len(found(Patches, model, image(*sizes), atol=2e-5)) == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_they_keep_their_precision_at_any_size(precision: str) -> None:
    model = Written(SPELLINGS["flatten"], **WEIGHTS)
    compiled = deepseek.compile(model.eval(), precision=precision)
    for x in (
        image(),
        image(batch=5),
        image(24, 30),
        image().to(memory_format=torch.channels_last),
    ):
        torch.testing.assert_close(compiled(x), model(x), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("compile_", [deepseek.compile, partial(torch.compile, backend="deepseek")])
def test_results_lie_as_in_eager_mode(compile_: Any) -> None:
    model = Written(lambda m, x: cut(m, x).flatten(2).transpose(1, 2), **WEIGHTS).eval()
    compiled = compile_(model)
    x = image()
    with torch.no_grad():
        for _ in range(3):
            expected = model(x)
            torch.testing.assert_close(compiled(x), expected, rtol=2e-5, atol=2e-5)
            assert compiled(x).stride() == expected.stride()


def test_they_are_saved(tmp_path: Any) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut = nn.Conv2d(3, 20, 4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.cut(x).flatten(2).transpose(1, 2) * 2

    compiled = deepseek.compile(Model().eval())
    x = image(16, 16)
    expected = compiled(x)
    assert torch.equal(load(save(compiled, tmp_path / "saved"))(x), expected)
