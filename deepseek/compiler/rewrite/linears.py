"""Finds linear layers in their spellings and gives them packed weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.compiler.nodes import argument, calls, dtype_of, replace, shape_of, value_of
from deepseek.compiler.operators import Linear
from deepseek.compiler.rewrite.clean import is_kept
from deepseek.kernels.gemm import pack_weight
from deepseek.kernels.int8 import LONGEST_SUM, pack_int8
from deepseek.nn.int8_arithmetic import quantize_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants
    from deepseek.kernels.gemm import PackedWeight

__all__ = ["Packing", "find_linears", "join_linears"]

_aten = torch.ops.aten
_FLOATS = (torch.float32, torch.bfloat16)
_VIEWS = (
    _aten.view.default, _aten.reshape.default, _aten.transpose.int, _aten.permute.default,
    _aten.unsqueeze.default, _aten.slice.Tensor,
)  # fmt: skip


def _pack_int8(weight: Tensor) -> PackedWeight:
    """INT8 with a scale a row; activations are rounded at run time, per token, asymmetrically.

    A weight with sums too long for 32 bits stays as it is.
    """
    if weight.shape[1] > LONGEST_SUM:
        return pack_weight(weight)
    return pack_int8(*quantize_weight(weight.float()), rounding="asymmetric")


def _pack_bf16(weight: Tensor) -> PackedWeight:
    return pack_weight(weight.bfloat16())


_PACKERS: dict[str, Callable[[Tensor], PackedWeight]] = {
    "fp32": pack_weight,
    "bf16": _pack_bf16,
    "int8": _pack_int8,
}


class Packing:
    """How the weights of linear layers are stored; graphs of one model share what was packed.

    Args:
        precision: ``fp32``, ``bf16`` or ``int8``.
    """

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self._packed: dict[object, tuple[list[Tensor], PackedWeight]] = {}

    def pack(self, *weights: Tensor) -> PackedWeight:
        """The weights ``(N, K)``, beneath one another, packed."""
        key = tuple((weight.data_ptr(), weight.shape, weight.stride()) for weight in weights)
        if key not in self._packed:
            whole = torch.cat(weights) if len(weights) > 1 else weights[0]
            self._packed[key] = list(weights), _PACKERS[self.precision](whole)
        return self._packed[key][1]


def find_linears(graph: Graph, constants: Constants, packing: Packing) -> None:
    """Replace products with constant weights by the linear kernel."""
    for node in list(graph.nodes):
        for x, weight, bias in _spelled(node, constants):
            _replace(node, x, Linear(packing.pack(weight), bias))
    graph.eliminate_dead_code(is_kept)


def _spelled(node: Node, constants: Constants) -> Iterator[tuple[Node, Tensor, Tensor | None]]:
    """The input, weight ``(N, K)`` and bias of a linear layer, if the node is one."""
    x: Any
    weight: Any
    if calls(node, _aten.linear.default):
        x, weight, bias = node.args[0], node.args[1], argument(node, "bias")
        transposed = False
    elif calls(node, _aten.addmm.default) and {argument(node, "beta"), argument(node, "alpha")} == {
        1
    }:
        bias, x, weight = node.args
        transposed = True
    elif calls(node, _aten.mm.default, _aten.matmul.default):
        (x, weight), bias, transposed = node.args, None, True
    else:
        return
    matrix, vector = constants.get(weight), None if bias is None else constants.get(bias)
    if matrix is None or (bias is not None and vector is None) or x in constants:
        return
    sizes = shape_of(x)
    if matrix.dim() != 2 or dtype_of(x) not in _FLOATS or matrix.dtype != dtype_of(x) or not sizes:
        return
    if not matrix.is_cpu or not matrix.numel():
        return
    matrix = matrix.t() if transposed else matrix
    if vector is not None and vector.shape != (matrix.shape[0],):
        return
    yield x, matrix, vector


def _replace(node: Node, x: Node, layer: Linear) -> None:
    """Put the layer in the node's place; where x is a matrix made of more dimensions, on those.

    The view after the product, which brings them back, is then one that changes nothing.
    """
    source = x.args[0] if calls(x, _aten.view.default, _aten.reshape.default) else None
    inner, outer = shape_of(source), shape_of(x)
    if (
        inner is None
        or outer is None
        or len(outer) != 2
        or len(inner) < 3
        or inner[-1] != outer[-1]
    ):
        replace(node, layer, x)
        return
    value = value_of(node)
    with node.graph.inserting_before(node):
        product = node.graph.call_function(layer, (source,))
        product.meta = dict(node.meta)
        product.meta["val"] = value.new_empty((*inner[:-1], layer.weight.features))
    replace(node, _aten.view.default, product, [-1, layer.weight.features])


def join_linears(graph: Graph, constants: Constants, packing: Packing) -> None:
    """Make one product of the layers that take the same input and are only looked at in pieces.

    Queries, keys and values are such: their heads are views, of a part of a row as of a row.
    """
    families: dict[Node, list[tuple[Node, Tensor, Tensor | None]]] = {}
    for node in graph.nodes:
        for x, weight, bias in _spelled(node, constants):
            if calls(node, _aten.linear.default) and _viewed(node):
                families.setdefault(x, []).append((node, weight, bias))
    for x, family in families.items():
        biases = {bias is None for _, _, bias in family}
        if len(family) > 1 and len(biases) == 1:
            _join(x, family, packing)
    graph.eliminate_dead_code(is_kept)


def _viewed(node: Node) -> bool:
    """Whether all users make heads of a row: a view of the last dimension in pieces."""
    sizes = shape_of(node)
    return all(
        calls(user, _aten.view.default)
        and sizes is not None
        and len(shape_of(user) or ()) == len(sizes) + 1
        for user in node.users
    )


def _join(x: Node, family: list[tuple[Node, Tensor, Tensor | None]], packing: Packing) -> None:
    first = family[0][0]
    weight = packing.pack(*(weight for _, weight, _ in family))
    biases = [bias for _, _, bias in family if bias is not None]
    layer = Linear(weight, torch.cat(biases) if biases else None)
    value: Any = value_of(first)
    with first.graph.inserting_before(first):
        whole = first.graph.call_function(layer, (x,))
        whole.meta = dict(first.meta)
        whole.meta["val"] = value.new_empty((*value.shape[:-1], weight.features))
    begin = 0
    for node, part, _ in family:
        end = begin + part.shape[0]
        replace(node, _aten.slice.Tensor, whole, -1, begin, end)
        begin = end
