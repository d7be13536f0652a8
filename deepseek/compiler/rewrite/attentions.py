"""Finds attention: calls of SDPA, and products, scalings, masks and softmax written out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from deepseek.compiler.nodes import (
    argument,
    calls,
    dtype_of,
    is_node,
    only_user,
    order_of,
    replace,
    same_sizes,
    shape_of,
    value_of,
)
from deepseek.compiler.operators import Attention
from deepseek.compiler.rewrite.clean import drop_unused
from deepseek.kernels.attend.spec import MOST_DEPTH

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants

__all__ = ["find_attention"]

_aten = torch.ops.aten
_FLOATS = (torch.float32, torch.bfloat16)
_PRODUCTS = (_aten.matmul.default, _aten.bmm.default)
_SCALINGS = (_aten.mul.Tensor, _aten.div.Tensor, _aten.mul.Scalar, _aten.div.Scalar)
_RESHAPES = (_aten.reshape.default, _aten.view.default, _aten._unsafe_view.default)  # noqa: SLF001


def find_attention(graph: Graph, _constants: Constants) -> None:
    """Replace attention in its spellings by the kernel."""
    for node in list(graph.nodes):
        if calls(node, _aten.scaled_dot_product_attention.default):
            _replace_call(node)
        elif calls(node, _aten.softmax.int):
            _replace_written_out(node)
    drop_unused(graph)


def _replace_call(node: Node) -> None:
    q, k, v = node.args[:3]
    mask, causal = argument(node, "attn_mask"), bool(argument(node, "is_causal"))
    square = shape_of(q) is not None and shape_of(q)[-2:-1] == (shape_of(k) or ())[-2:-1]  # type: ignore[index]
    if argument(node, "dropout_p") or (causal and not square) or not _fits(q, k, v, mask):
        return
    if argument(node, "enable_gqa") or _heads(q) == _heads(k):
        k, v = _before_repeating(k), _before_repeating(v)
        _put(node, Attention(causal, argument(node, "scale")), q, k, v, mask)


def _heads(node: Any) -> Any:
    return (shape_of(node) or (None,) * 3)[-3]


def _fits(q: Any, k: Any, v: Any, mask: Any = None) -> bool:
    """Whether the kernel takes these: three or four dimensions, floats, heads not too deep."""
    shapes = [shape_of(operand) for operand in (q, k, v)]
    if any(shape is None or len(shape) not in (3, 4) for shape in shapes):
        return False
    if len({len(shape or ()) for shape in shapes}) > 1 or dtype_of(q) not in _FLOATS:
        return False
    if any(dtype_of(operand) != dtype_of(q) for operand in (k, v)):
        return False
    if mask is not None and dtype_of(mask) not in (torch.bool, dtype_of(q)):
        return False
    depths = [shape[-1] for shape in shapes if shape]
    # a symbolic depth cannot be compared without a guard
    return all(isinstance(depth, int) and depth <= MOST_DEPTH for depth in depths)


def _before_repeating(node: Any) -> Any:
    """Keys or values before each head was repeated for the queries that share it."""
    if not calls(node, *_RESHAPES) or not calls(node.args[0], _aten.expand.default):
        return node
    expanded = node.args[0]
    source = expanded.args[0]
    while calls(source, _aten.slice.Tensor) and same_sizes(source, source.args[0]):
        source = source.args[0]
    if not calls(source, _aten.unsqueeze.default) or argument(source, "dim") not in (2, -3):
        return node
    origin, wide, flat = source.args[0], shape_of(expanded), shape_of(node)
    few = shape_of(origin)
    if few is None or wide is None or flat is None or len(few) != 4 or len(wide) != 5:
        return node
    heads = (few[1], wide[2], flat[1])
    if not all(isinstance(count, int) for count in heads) or heads[0] * heads[1] != heads[2]:
        return node
    return origin


@dataclass(slots=True)
class _Scores:
    """The scores beneath a softmax: ``q @ k.T * scale + mask``."""

    q: Any
    k: Any
    scale: float
    mask: Any


def _replace_written_out(softmax: Node) -> None:
    shape = shape_of(softmax)
    if shape is None or argument(softmax, "dim") not in (-1, len(shape) - 1):
        return
    if argument(softmax, "dtype") not in (None, dtype_of(softmax.args[0])):
        return
    product = only_user(softmax)
    if not calls(product, *_PRODUCTS) or product.args[0] is not softmax:
        return
    scores = _scores(softmax.args[0])
    if scores is None or not _fits(scores.q, scores.k, product.args[1], scores.mask):
        return
    if _heads(scores.q) != _heads(scores.k):
        return
    k, v = _before_repeating(scores.k), _before_repeating(product.args[1])
    if _heads(k) != _heads(v):
        k, v = scores.k, product.args[1]
    _put(product, Attention(False, scores.scale), scores.q, k, v, scores.mask)


def _scores(node: Any) -> _Scores | None:
    scale, mask = 1.0, None
    while is_node(node) and not calls(node, *_PRODUCTS):
        if len(node.users) != 1:
            return None
        if calls(node, _aten.add.Tensor) and mask is None and argument(node, "alpha") == 1:
            left, right = node.args[:2]
            if not is_node(right):
                return None
            node, mask = (right, left) if calls(right, *_PRODUCTS, *_SCALINGS) else (left, right)
            if scale != 1.0 or dtype_of(mask) not in _FLOATS:
                return None  # a mask that is scaled too
        elif calls(node, *_SCALINGS) and isinstance(node.args[1], (int, float)):
            divides = calls(node, _aten.div.Tensor, _aten.div.Scalar)
            scale *= 1 / node.args[1] if divides else node.args[1]
            node = node.args[0]
        else:
            return None
    if not calls(node, *_PRODUCTS) or len(node.users) != 1:
        return None
    k = _untransposed(node.args[1])
    return None if k is None else _Scores(node.args[0], k, scale, mask)


def _untransposed(node: Any) -> Any:
    """What the transposed keys are a transposition of; None if they are none."""
    order = order_of(node)
    if order is None:
        return None
    rank = len(order)
    if calls(node, _aten.permute.default):
        return _permuted(node, order, rank)
    return node.args[0] if order == [*range(rank - 2), rank - 1, rank - 2] else None


def _permuted(node: Node, order: list[int], rank: int) -> Any:
    """Keys as ``(B, H, N, D)`` where a permutation of theirs makes ``(B, H, D, N)`` of them."""
    swapped = [*order[:-2], order[-1], order[-2]]
    if swapped == list(range(rank)):
        return node.args[0]
    source: Any = node.args[0]
    with node.graph.inserting_before(node):
        keys = node.graph.call_function(_aten.permute.default, (source, swapped))
    keys.meta = {"val": value_of(source).permuted(swapped)}
    return keys


def _put(node: Node, operator: Attention, q: Any, k: Any, v: Any, mask: Any) -> None:
    replace(node, operator, q, k, v, *(() if mask is None else (mask,)))
