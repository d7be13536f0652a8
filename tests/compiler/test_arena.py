"""Blocks that are in use never overlap, and the memory of others is used again."""

import os
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deepseek.compiler.arena import Arena

DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.bool)
actions = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 300), st.integers(1, 5), st.sampled_from(DTYPES)),
        st.integers(0, 30),  # a block to give back
    ),
    max_size=40,
)


def extent(tensor: Tensor) -> tuple[int, int]:
    begin = tensor.data_ptr()
    return begin, begin + tensor.numel() * tensor.element_size()


@settings(max_examples=60, deadline=None)
@given(actions)
def test_blocks_in_use_never_overlap(steps: list[object]) -> None:
    arena, live = Arena(), []
    for step in steps:
        if isinstance(step, tuple):
            rows, columns, dtype = step
            live.append(arena.empty((rows, columns), (columns, 1), dtype))
        elif live:
            live.pop(step % len(live))
        ends = sorted(map(extent, live))
        assert all(end <= begin for (_, end), (begin, _) in pairwise(ends))
        assert all(arena.holds(tensor) and tensor.data_ptr() % 64 == 0 for tensor in live)
        if ends:
            assert ends[-1][1] - ends[0][0] <= arena.peak


def test_memory_is_used_again() -> None:
    arena = Arena()
    first = arena.empty((1000,), (1,), torch.float32)
    address, peak = first.data_ptr(), arena.peak
    del first
    assert arena.empty((500,), (1,), torch.float32).data_ptr() == address
    assert arena.peak == peak


def test_a_view_keeps_its_block_and_an_alias_does_not() -> None:
    arena = Arena()
    whole = arena.empty((8, 8), (8, 1), torch.float32)
    address, view = whole.data_ptr(), whole[2:]
    del whole
    assert arena.empty((8, 8), (8, 1), torch.float32).data_ptr() != address
    alias = arena.alias(view)
    assert alias.data_ptr() == view.data_ptr()
    assert torch.equal(alias.fill_(3), view)
    del view
    assert arena.empty((8, 8), (8, 1), torch.float32).data_ptr() == address


def test_strides_are_kept_and_empty_tensors_take_no_block() -> None:
    arena = Arena()
    turned = arena.empty((3, 5), (1, 3), torch.float32)
    assert turned.stride() == (1, 3)
    assert not arena.holds(arena.empty((0, 4), (4, 1), torch.float32))


def test_a_copy_of_the_storage_of_an_alias_is_no_copy_of_the_arena() -> None:
    """`slice_scatter` copies all of the storage of what it changes."""
    arena = Arena()
    whole = arena.alias(arena.empty((2, 3, 8), (24, 8, 1), torch.float32).zero_())
    assert whole.untyped_storage().nbytes() == whole.nbytes
    part = torch.ops.aten.slice_scatter.default(whole, torch.ones(2, 3, 4), 2, 0, 4)
    assert part.sum() == 24


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_with_many_arenas_may_fork() -> None:
    """What is reserved together is more than the machine has, and may well be."""
    arenas = [Arena() for _ in range(64)]
    child = os.fork()
    if child == 0:
        os._exit(len(arenas))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 64
