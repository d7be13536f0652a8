"""Finds norms and softmax over the last dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from deepseek.compiler.nodes import argument, calls, dtype_of, replace, same_sizes, shape_of
from deepseek.compiler.operators import Norm, Softmax
from deepseek.compiler.rewrite.clean import drop_unused

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants

__all__ = ["find_norms", "find_softmax"]

_aten = torch.ops.aten
_FLOATS = (torch.float32, torch.bfloat16)


def find_norms(graph: Graph, constants: Constants) -> None:
    """Replace layer norms and RMS norms by the kernel, with a sum before them if it is theirs."""
    for node in list(graph.nodes):
        if calls(node, _aten.layer_norm.default):
            _layer_norm(node, constants)
        elif calls(node, _aten.rsqrt.default):
            _written_out(node, constants)
        elif calls(node, _aten.rms_norm.default):
            _rms_norm(node, constants)
    drop_unused(graph)


def _layer_norm(node: Node, constants: Constants) -> None:
    weight, bias = argument(node, "weight"), argument(node, "bias")
    known = all(x is None or x in constants for x in (weight, bias))
    if not known or not _normalizes_rows(node):
        return
    norm = Norm(constants.get(weight), constants.get(bias), float(argument(node, "eps")))
    _put(node, norm, node.args[0])


def _rms_norm(node: Node, constants: Constants) -> None:
    weight, eps = argument(node, "weight"), argument(node, "eps")
    if (weight is not None and weight not in constants) or not _normalizes_rows(node):
        return
    if eps is None:
        eps = torch.finfo(dtype_of(node) or torch.float32).eps
    _put(node, Norm(constants.get(weight), None, float(eps), centered=False), node.args[0])


def _normalizes_rows(node: Node) -> bool:
    return len(argument(node, "normalized_shape")) == 1 and dtype_of(node.args[0]) in _FLOATS


def _put(node: Node, norm: Norm, x: Any) -> None:
    """The norm in the node's place; a sum that nothing else reads goes into it."""
    if calls(x, _aten.add.Tensor) and len(x.users) == 1 and argument(x, "alpha") == 1:
        left, right = x.args[:2]
        if same_sizes(left, x) and same_sizes(right, x) and dtype_of(left) == dtype_of(right):
            replace(node, norm, left, right)
            return
    replace(node, norm, x)


def _written_out(rsqrt: Node, constants: Constants) -> None:
    """``x * rsqrt(mean(x^2) + eps)``, and a weight multiplied with that.

    Sums and means are taken in fp32 there too, or x would not be of the dtype of the result.
    """
    total: Any = rsqrt.args[0]
    if not calls(total, _aten.add.Tensor) or not isinstance(total.args[1], float):
        return
    mean = total.args[0]
    if not calls(mean, _aten.mean.dim) or not argument(mean, "keepdim"):
        return
    x = _squared(mean.args[0])
    if x is None or dtype_of(x) != torch.float32 or not _over_rows(mean, x):
        return
    for scaled in list(rsqrt.users):
        if calls(scaled, _aten.mul.Tensor) and set(scaled.args) == {x, rsqrt}:
            end, weight = _weighted(scaled, constants)
            _put(end, Norm(weight, None, total.args[1], centered=False), x)
            return


def _over_rows(mean: Node, x: Node) -> bool:
    rank = len(shape_of(x) or ())
    return [dim % rank for dim in argument(mean, "dim")] == [rank - 1]


def _squared(node: Any) -> Any:
    if calls(node, _aten.pow.Tensor_Scalar) and node.args[1] == 2:
        return node.args[0]
    if calls(node, _aten.mul.Tensor) and node.args[0] is node.args[1]:
        return node.args[0]
    return None


def _weighted(scaled: Node, constants: Constants) -> tuple[Node, Any]:
    """The product with a weight, if that is the only use of the scaled rows; and the weight."""
    users = list(scaled.users)
    width = (shape_of(scaled) or (None,))[-1]
    if len(users) == 1 and calls(users[0], _aten.mul.Tensor):
        other = next(operand for operand in users[0].args if operand is not scaled)
        weight = constants.get(other)  # type: ignore[arg-type]  # no key if it is no node
        if weight is not None and weight.shape == (width,) and weight.dtype == dtype_of(scaled):
            return users[0], weight
    return scaled, None


def find_softmax(graph: Graph, _constants: Constants) -> None:
    """Replace softmax and its logarithm, over the last dimension, by the kernel."""
    for node in list(graph.nodes):
        if not calls(node, _aten.softmax.int, _aten.log_softmax.int):
            continue
        rank = len(shape_of(node) or ())
        x: Any = node.args[0]
        plain = argument(node, "dtype") in (None, dtype_of(x)) and dtype_of(x) in _FLOATS
        if plain and rank and argument(node, "dim") % rank == rank - 1:
            replace(node, Softmax(calls(node, _aten.log_softmax.int)), x)
