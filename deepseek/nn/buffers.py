"""Tensors that a layer of some form has and one of another has not."""

from torch import Tensor, nn

__all__ = ["keep"]


def keep(layer: nn.Module, name: str, tensor: Tensor | None) -> None:
    """A buffer, or an attribute: torch 2.13 cannot export a module with None among its buffers."""
    if tensor is None:
        setattr(layer, name, None)
    else:
        layer.register_buffer(name, tensor)
