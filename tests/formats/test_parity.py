import math
from pathlib import Path
from typing import Any

import pytest
import torch

from deepseek.formats.checkpoint import Checkpoint, TensorInfo
from deepseek.formats.parity import compare_tensors, named


def _checkpoint(tensors: dict[str, torch.Tensor], **more: Any) -> Checkpoint:
    infos = {
        name: TensorInfo(shape=tuple(tensor.shape), dtype=tensor.dtype)
        for name, tensor in tensors.items()
    }
    return Checkpoint(source=Path("x"), format="hf", infos=infos, read=tensors.__getitem__, **more)


def _misses(before: torch.Tensor, after: torch.Tensor, dtype: torch.dtype | None = None) -> Any:
    return compare_tensors(_checkpoint({"a": before}), _checkpoint({"a": after}), dtype).misses


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 4),
        torch.tensor(1.5),
        torch.zeros(0, 3),
        torch.tensor([math.nan, math.inf, -0.0]),
        torch.randn(4, 3).t(),
        torch.randn(5).bfloat16(),
        torch.randn(5, dtype=torch.float64),
        torch.randn(2, 2, dtype=torch.complex64),
        torch.tensor([True, False]),
        torch.arange(3),
        torch.randn(4).to(torch.float8_e4m3fn),
    ],
    ids=lambda tensor: f"{tensor.dtype}-{tuple(tensor.shape)}",
)
def test_the_same_bits_pass(tensor: torch.Tensor) -> None:
    found = compare_tensors(_checkpoint({"a": tensor}), _checkpoint({"a": tensor.clone()}), None)
    assert found.passed
    assert found.tensors is not None
    assert (found.tensors.compared, found.tensors.max_abs) == (1, 0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (torch.tensor([1.0]), torch.tensor([1.0 + 2**-23])),
        (torch.tensor([1.0]), torch.tensor([math.nan])),
        (torch.tensor([1]), torch.tensor([2])),
        (torch.ones(2, 3), torch.ones(3, 2)),
        (torch.ones(2), torch.ones(2, dtype=torch.float64)),
    ],
)
def test_anything_else_is_a_miss(before: torch.Tensor, after: torch.Tensor) -> None:
    assert _misses(before, after) == ("different from the source, of 1 tensors: a",)


def test_rounding_must_be_torchs_own() -> None:
    before = torch.tensor([1.0, 1.0 + 2**-9])
    assert not _misses(before, before.bfloat16(), torch.bfloat16)
    truncated = torch.tensor([1.0, 1.0 + 2**-7]).bfloat16()
    assert _misses(before, truncated, torch.bfloat16) == (
        "different from the source, of 1 tensors: a",
    )


def test_values_that_became_infinite_are_a_miss() -> None:
    before = torch.tensor([7e4, 1.0])
    found = _misses(before, before.half(), torch.float16)
    assert found == ("values too large for torch.float16: a",)
    infinite = torch.tensor([math.inf, math.nan])
    assert not _misses(infinite, infinite.half(), torch.float16)


def test_rounding_errors_are_measured() -> None:
    before = torch.tensor([4.0, 1.0 + 2**-9])
    source, written = _checkpoint({"a": before}), _checkpoint({"a": before.bfloat16()})
    found = compare_tensors(source, written, torch.bfloat16)
    assert found.tensors is not None
    assert found.tensors.max_abs == 2**-9
    assert found.tensors.max_rel == 2**-11


def test_tensors_larger_than_a_piece_are_compared_to_the_end() -> None:
    before = torch.zeros(2**22 + 3, dtype=torch.uint8)
    after = before.clone()
    after[-1] = 1
    assert _misses(before, after) == ("different from the source, of 1 tensors: a",)


def test_names_must_share_memory_again() -> None:
    tensors = {name: torch.ones(1) for name in "abcd"}
    source = _checkpoint(tensors, shared={"b": "a", "c": "a"})
    same = _checkpoint(tensors, shared={"a": "c", "b": "c"})
    assert compare_tensors(source, same, None).passed
    less = _checkpoint(tensors, shared={"b": "a"})
    assert compare_tensors(source, less, None).misses == ("no longer sharing memory: a, b, c",)


def test_lists_of_names_are_short() -> None:
    assert named(["a", "b"]) == "a, b"
    assert named(list("abcde")) == "a, b, c and 2 more"
