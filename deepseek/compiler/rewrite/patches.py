"""Finds convolutions that cut an image into patches: how vision transformers begin.

A window that moves by its own size touches every pixel once: each patch is a row, and the
convolution a linear layer. What models make of it is that linear layer's result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from deepseek.compiler.nodes import argument, calls, only_user, order_of, replace, shape_of
from deepseek.compiler.operators import Patches
from deepseek.compiler.rewrite.clean import drop_unused
from deepseek.compiler.rewrite.weights import Weight

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants
    from deepseek.compiler.rewrite.weights import Packing

__all__ = ["find_patches"]

_aten = torch.ops.aten
_CONVOLUTIONS = _aten.conv2d.default, _aten.convolution.default
_FLAT = _aten.flatten.using_ints, _aten.view.default, _aten.reshape.default


def find_patches(graph: Graph, constants: Constants, packing: Packing) -> None:
    """Replace such convolutions, with their pixels flat and turned to rows, by one operator."""
    for node in list(graph.nodes):
        if not calls(node, *_CONVOLUTIONS) or not _cuts(node, constants):
            continue
        flat = only_user(node)
        turned = only_user(flat) if flat is not None and _is_flat(flat, node) else None
        if turned is None or not _is_turned(turned):
            continue
        weight, bias = constants[argument(node, "weight")], argument(node, "bias")
        packed = packing.pack(Weight((weight.flatten(1),), ("unchanged",)))
        size = (weight.shape[2], weight.shape[3])
        replace(turned, Patches(packed, size, constants.get(bias)), node.args[0])
    drop_unused(graph)


def _cuts(node: Node, constants: Constants) -> bool:
    """Whether a convolution's windows lie side by side, and its weight is known."""
    weight, bias = (constants.get(argument(node, name)) for name in ("weight", "bias"))
    if weight is None or weight.dim() != 4 or weight.dtype != torch.float32:
        return False
    if (bias is None) != (argument(node, "bias") is None):
        return False
    return (
        _pair(argument(node, "stride")) == list(weight.shape[2:])
        and not any(_pair(argument(node, "padding")))
        and _pair(argument(node, "dilation")) == [1, 1]
        and argument(node, "groups") == 1
        and not argument(node, "transposed", default=False)
        and len(shape_of(node) or ()) == 4
    )


def _pair(value: Any) -> list[Any]:
    return list(value) * 2 if len(value) == 1 else list(value)


def _is_flat(flat: Node, node: Node) -> bool:
    """Whether the last two dimensions are made one."""
    before, after = shape_of(node), shape_of(flat)
    if before is None or after is None or not calls(flat, *_FLAT):
        return False
    return len(after) == 3 and after[:2] == before[:2]


def _is_turned(node: Node) -> bool:
    """Whether patches become rows; a result of the model would lie otherwise than in eager mode."""
    given = any(user.op == "output" for user in node.users)
    return not given and order_of(node) == [0, 2, 1]
