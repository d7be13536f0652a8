"""Rows of a result: that every element is met once, at the place where each operand has it."""

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.compiler.pointwise.layout import STRIP, rows_of


def places(rows, total):
    """Each element's place in each operand, in the order of the result."""
    middle, inner = rows.sizes
    found = [[] for _ in rows.strides]
    for row in range(rows.count):
        index = (row // inner // middle, row // inner % middle, row % inner)
        for column in range(min(rows.width, total - row * rows.width)):
            for k, (strides, step) in enumerate(zip(rows.strides, rows.steps, strict=True)):
                offset = sum(i * s for i, s in zip(index, strides, strict=True))
                found[k].append(offset + column * step)
    return found


def check(shape, operands, few=1):
    views = [x.expand(shape) for x in operands]
    rows = rows_of(shape, [view.stride() for view in views], few)
    assert rows is not None
    for view, found in zip(views, places(rows, prod(shape)), strict=True):
        expected = torch.arange(view.untyped_storage().nbytes() // 8)
        expected = expected.as_strided(view.shape, view.stride(), 0).flatten().tolist()
        assert found == expected
    return rows


def numbers(*shape):
    return torch.arange(prod(shape)).view(shape)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_element_is_met_once_at_its_place(data):
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    operands = []
    for _ in range(data.draw(st.integers(1, 3))):
        sizes = [data.draw(st.sampled_from([1, size])) for size in shape]
        order = data.draw(st.permutations(range(len(shape))))
        gaps = [data.draw(st.integers(1, 2)) for _ in shape]
        memory = numbers(*(sizes[d] * gap for d, gap in zip(order, gaps, strict=True)))
        view = memory[tuple(slice(None, None, gap) for gap in gaps)]
        operands.append(view.permute(*(order.index(d) for d in range(len(shape)))))
    check(shape, operands, few=data.draw(st.sampled_from([1, 8])))


def test_what_is_contiguous_is_one_row_in_strips():
    x = numbers(3, STRIP, 2)
    rows = check((3, STRIP, 2), [x, x])
    assert (rows.count, rows.width, rows.layouts) == (6, STRIP, ("dense", "dense"))
    rows = check((3, STRIP + 5), [numbers(3, STRIP + 5), numbers(1, 1)])
    assert (rows.count, rows.layouts) == (4, ("dense", "spread"))


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("length", [1, 5, 40])
def test_classes_do_not_depend_on_sizes(batch, length):
    shape = (batch, length, 6)
    operands = [numbers(*shape), numbers(6), numbers(batch, length, 1), numbers(batch, 1, 1)]
    assert check(shape, operands).layouts == ("dense", "dense", "spread", "spread")


def test_few_long_rows_are_cut_evenly():
    shape = (2, 4 * STRIP)
    rows = check(shape, [numbers(*shape), numbers(2, 1)], few=8)
    assert (rows.count, rows.width) == (8, STRIP)


def test_too_many_dimensions_are_refused():
    shape = (2, 2, 2, 2, 2)
    x = numbers(*(4,) * 5)[::2, ::2, ::2, ::2, ::2]
    assert rows_of(shape, [x.stride()]) is None
