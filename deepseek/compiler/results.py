"""What a record hands out: copies with the same strides, shared where its results share memory.

A caller may change a result in place, and see the change in another result that is a view of it;
so results that overlap are copied together.
"""

from __future__ import annotations

import ctypes
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from deepseek.compiler.arena import bounds
from deepseek.kernels.pool import LARGE, pooled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deepseek.compiler.handover import Handover

__all__ = ["Results"]

_ALIGNED = 16  # bytes; no element is larger


class Results:
    """A tree of tensors that is handed out again and again.

    Args:
        tree: The tensors, and anything else, which is returned as it is.
        handover: Finds out how a tensor that shares memory with no other can be made elsewhere.
    """

    def __init__(
        self, tree: Any, handover: Callable[[Tensor], Handover | None] = lambda _: None
    ) -> None:
        self._leaves, self._tree = tree_flatten(tree)
        places = [i for i, leaf in enumerate(self._leaves) if isinstance(leaf, Tensor)]
        groups = _overlapping({place: self._leaves[place] for place in places})
        alone = [group[0] for group in groups if len(group) == 1]
        self._simple = [place for place in alone if _keeps_strides(self._leaves[place])]
        found = {place: handover(self._leaves[place]) for place in self._simple}
        self._handed = {place: each for place, each in found.items() if each is not None}
        self._spans = [
            _Span([(place, self._leaves[place]) for place in group])
            for group in groups
            if len(group) > 1 or group[0] not in self._simple
        ]

    def renewed(self) -> dict[int, Tensor]:
        """New tensors by their place, which the next run fills."""
        return {place: each.renew() for place, each in self._handed.items()}

    def copies(self, filled: Mapping[int, Tensor] = MappingProxyType({})) -> Any:
        """The tree, with tensors of its own: those that were filled, and copies of the others."""
        leaves = list(self._leaves)
        for place in self._simple:
            leaves[place] = filled[place] if place in filled else _copy(leaves[place])
        for span in self._spans:
            span.copy(leaves)
        return tree_unflatten(leaves, self._tree)


class _Span:
    """The bytes from the first to the last of tensors that overlap, whatever their storages."""

    def __init__(self, members: list[tuple[int, Tensor]]) -> None:
        ends = [bounds(tensor) for _, tensor in members]
        begin = min(low for low, _ in ends)
        begin -= begin % _ALIGNED
        length = max(high for _, high in ends) - begin
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


def _copy(tensor: Tensor) -> Tensor:
    return (
        tensor.clone() if tensor.nbytes < LARGE else pooled(torch.empty_like(tensor)).copy_(tensor)
    )


def _keeps_strides(tensor: Tensor) -> bool:
    return torch.empty_like(tensor).stride() == tensor.stride()


def _overlapping(tensors: dict[int, Tensor]) -> list[list[int]]:
    """Places of tensors, those together that share bytes."""
    groups: list[list[int]] = []
    end = -1
    for place in sorted(tensors, key=lambda place: bounds(tensors[place])):
        low, high = bounds(tensors[place])
        if low < end and low < high:
            groups[-1].append(place)
        else:
            groups.append([place])
        end = max(end, high)
    return groups
