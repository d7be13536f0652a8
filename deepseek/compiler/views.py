"""Views of what lies in memory, made without telling a recording.

A recording hears of every operator by way of torch, which takes 8 us to come to it. A view does
nothing that has to be replayed, and a graph of a transformer has ten a layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UNHEARD", "VIEWS"]

_aten = torch.ops.aten

VIEWS = frozenset(
    (
        _aten.view.default, _aten.slice.Tensor, _aten.select.int, _aten.transpose.int,
        _aten.permute.default, _aten.expand.default, _aten.unsqueeze.default,
        _aten.squeeze.dim, _aten.squeeze.dims, _aten.t.default, _aten.alias.default,
        _aten.detach.default, _aten.split.Tensor, _aten.split_with_sizes.default,
    )
)  # fmt: skip
"""Operators that give views of what lies in memory and nothing else."""

_METHODS: dict[Any, Callable[..., Any]] = {
    _aten.view.default: Tensor.view,
    _aten.transpose.int: Tensor.transpose,
    _aten.permute.default: Tensor.permute,
    _aten.expand.default: Tensor.expand,
    _aten.unsqueeze.default: Tensor.unsqueeze,
}
"""Methods with the same arguments: torch comes to them in a third of the time."""


def _unheard(view: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        with torch._C._DisableTorchDispatch():  # noqa: SLF001 - the only way past a mode
            return view(*args, **named)

    return call


def _reshape(x: Tensor, size: list[int]) -> Tensor:
    """A view where there is one; else a copy, which is heard."""
    try:
        with torch._C._DisableTorchDispatch():  # noqa: SLF001
            return x.view(size)
    except RuntimeError:
        return x.reshape(size)


UNHEARD: dict[Any, Callable[..., Any]] = {
    **{view: _unheard(_METHODS.get(view, view)) for view in VIEWS},
    _aten.reshape.default: _reshape,
}
"""What stands for these operators while a program is recorded, and its tensors are plain ones."""
