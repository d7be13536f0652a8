"""Finds sums of embeddings, and the norm after them: how most encoders begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from deepseek.compiler.nodes import argument, calls, dtype_of, only_user, replace, shape_of
from deepseek.compiler.operators import Embedding
from deepseek.compiler.rewrite.clean import drop_unused

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants

__all__ = ["find_embeddings"]

_aten = torch.ops.aten


def find_embeddings(graph: Graph, constants: Constants) -> None:
    """Replace sums of two and more embeddings by one kernel; a norm after them goes with it."""
    for node in list(graph.nodes):
        if not calls(node, _aten.add.Tensor) or argument(node, "alpha") != 1:
            continue
        if any(calls(user, _aten.add.Tensor) and _parts(user, constants) for user in node.users):
            continue  # part of a longer sum
        parts = _parts(node, constants)
        if parts:
            _replace(node, parts, constants)
    drop_unused(graph)


def _parts(node: Any, constants: Constants) -> list[Node]:
    """The embeddings that a node is the sum of, in their order; none if it is not."""
    if calls(node, _aten.embedding.default):
        table = constants.get(node.args[0])  # type: ignore[arg-type]  # a node
        ids = dtype_of(node.args[1]) in (torch.int64, torch.int32)
        known = table is not None and table.dtype in (torch.float32, torch.bfloat16)
        return [node] if known and ids else []
    if not calls(node, _aten.add.Tensor) or argument(node, "alpha") != 1:
        return []
    left, right = (_parts(operand, constants) for operand in node.args[:2])
    inner = [operand for operand in node.args[:2] if calls(operand, _aten.add.Tensor)]
    shared = any(len(operand.users) > 1 for operand in inner)
    return left + right if left and right and not shared and len(left + right) <= 8 else []


def _replace(node: Node, parts: list[Node], constants: Constants) -> None:
    tables = tuple(constants[part.args[0]] for part in parts)  # type: ignore[index]  # nodes
    if len({(table.shape[1], table.dtype) for table in tables}) > 1:
        return
    ids = [part.args[1] for part in parts]
    user = only_user(node)
    if calls(user, _aten.layer_norm.default) and len(argument(user, "normalized_shape")) == 1:
        weight, bias = argument(user, "weight"), argument(user, "bias")
        if all(x is None or x in constants for x in (weight, bias)) and shape_of(user):
            eps = float(argument(user, "eps"))
            both = constants.get(weight), constants.get(bias)
            replace(user, Embedding(tables, *both, eps), *ids)
            return
    replace(node, Embedding(tables), *ids)
