"""Copies of what a record left in its memory: the same strides, and shared where it is shared.

A caller may change a result in place, and see the change in another result that is a view of it;
so results that overlap are copied together.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

__all__ = ["Results"]

_ALIGNED = 16  # bytes; no element is larger


class Results:
    """A tree of tensors that is copied again and again.

    Args:
        tree: The tensors, and anything else, which is returned as it is.
    """

    def __init__(self, tree: Any) -> None:
        self._leaves, self._tree = tree_flatten(tree)
        places = [i for i, leaf in enumerate(self._leaves) if isinstance(leaf, Tensor)]
        groups = _overlapping({place: self._leaves[place] for place in places})
        alone = [group[0] for group in groups if len(group) == 1]
        self._simple = [place for place in alone if _keeps_strides(self._leaves[place])]
        self._spans = [
            _Span([(place, self._leaves[place]) for place in group])
            for group in groups
            if len(group) > 1 or group[0] not in self._simple
        ]

    def copies(self) -> Any:
        """The tree, with tensors of its own."""
        leaves = list(self._leaves)
        for place in self._simple:
            leaves[place] = leaves[place].clone()
        for span in self._spans:
            span.copy(leaves)
        return tree_unflatten(leaves, self._tree)


class _Span:
    """The bytes from the first to the last of tensors that overlap, whatever their storages."""

    def __init__(self, members: list[tuple[int, Tensor]]) -> None:
        bounds = [_bounds(tensor) for _, tensor in members]
        begin = min(low for low, _ in bounds)
        begin -= begin % _ALIGNED
        length = max(high for _, high in bounds) - begin
        block: Any = (ctypes.c_char * length).from_address(begin)
        block.owners = [tensor for _, tensor in members]  # which must live as long
        self._bytes = torch.frombuffer(block, dtype=torch.uint8)
        self._members = [
            (
                place,
                tensor.dtype,
                (tensor.data_ptr() - begin) // tensor.dtype.itemsize,
                tensor.size(),
                tensor.stride(),
            )
            for place, tensor in members
        ]

    def copy(self, leaves: list[Any]) -> None:
        storage = self._bytes.clone().untyped_storage()
        for place, dtype, offset, size, stride in self._members:
            leaves[place] = torch.empty(0, dtype=dtype).set_(storage, offset, size, stride)


def _keeps_strides(tensor: Tensor) -> bool:
    return torch.empty_like(tensor).stride() == tensor.stride()


def _bounds(tensor: Tensor) -> tuple[int, int]:
    """Addresses of the first byte and behind the last one."""
    low = tensor.data_ptr()
    if not tensor.numel():
        return low, low
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return low, low + (1 + sum((n - 1) * step for n, step in pairs)) * tensor.dtype.itemsize


def _overlapping(tensors: dict[int, Tensor]) -> list[list[int]]:
    """Places of tensors, those together that share bytes."""
    groups: list[list[int]] = []
    end = -1
    for place in sorted(tensors, key=lambda place: _bounds(tensors[place])):
        low, high = _bounds(tensors[place])
        if low < end and low < high:
            groups[-1].append(place)
        else:
            groups.append([place])
        end = max(end, high)
    return groups
