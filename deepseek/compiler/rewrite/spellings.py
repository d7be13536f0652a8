"""The spellings of a linear layer in a captured graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from deepseek.compiler.looks import Symbolic
from deepseek.compiler.nodes import argument, calls, dtype_of, shape_of
from deepseek.compiler.rewrite.weights import Weight
from deepseek.kernels.int8 import LONGEST_SUM
from deepseek.nn import whole  # noqa: F401 - registers the operators of quantized layers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from torch.fx import Node

    from deepseek.compiler.nodes import Constants

    Spelled = tuple[Node, Weight, Tensor | None]

__all__ = ["WHOLE", "spelled"]

_aten = torch.ops.aten
_int8 = torch.ops.deepseek.int8_layer.default
_grouped = torch.ops.deepseek.grouped_layer.default
_FLOATS = (torch.float32, torch.bfloat16)
_SCALES = (torch.float32, torch.bfloat16, torch.float16)  # those that fp32 holds exactly
_QUANTIZED: dict[Any, tuple[str, ...]] = {
    _int8: ("weight", "weight_scale"),
    _grouped: ("weight_packed", "weight_scale", "weight_zero_point"),
}

WHOLE = (_aten.linear.default, *_QUANTIZED)
"""Operators that are a layer with its bias, whatever the dimensions of its input."""


def spelled(node: Node, constants: Constants) -> Iterator[Spelled]:
    """The input, weight and bias of a linear layer, if the node is one that kernels compute."""
    if node.target in _QUANTIZED:
        yield from _quantized(node, constants)
    else:
        yield from _floating(node, constants)


def _quantized(node: Node, constants: Constants) -> Iterator[Spelled]:
    """A layer whose weight is quantized already, as :mod:`deepseek.nn.whole` has them."""
    x, bias = argument(node, "x"), argument(node, "bias")
    held = [argument(node, name) for name in _QUANTIZED.get(node.target, ())]
    parts = [part for part in held if part is not None]
    if any(part not in constants for part in parts) or x in constants:
        return
    vector = constants.get(bias)
    if (bias is not None and vector is None) or dtype_of(x) not in _FLOATS or not shape_of(x):
        return
    weight = Weight(tuple(constants[part] for part in parts), _kind(node))
    numbers, scales = weight.tensors[:2]
    if scales.dtype not in _SCALES or not numbers.is_cpu or not numbers.numel():
        return
    if weight.kind[0] == "int8" and numbers.shape[1] > LONGEST_SUM:
        return
    if vector is None or vector.dtype in _FLOATS:
        yield x, weight, vector


def _kind(node: Node) -> tuple[Any, ...]:
    if node.target == _int8:
        return ("int8", "symmetric" if argument(node, "sums") is None else "asymmetric")
    bits, depth = argument(node, "bits"), (shape_of(argument(node, "x")) or ())[-1]
    if isinstance(depth, Symbolic):
        depth = depth.hint  # the layer takes no other
    kind = ("grouped", depth, bits, argument(node, "group_size"))
    rows = (shape_of(argument(node, "weight_packed")) or ())[0]
    # zero points lie along the rows: with a word that is not full, none can lie beneath
    ragged = argument(node, "weight_zero_point") is not None and rows * bits % 32
    return (*kind, node.name) if ragged else kind


def _floating(node: Node, constants: Constants) -> Iterator[Spelled]:
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
    yield x, Weight((matrix,)), vector
