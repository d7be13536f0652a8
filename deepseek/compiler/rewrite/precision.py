"""Puts linear layers and attention into bf16; norms, softmax and sums of residuals stay in fp32.

Activations are rounded where a product begins. A kernel whose result is only read so gives it in
bf16 at once, and what attention gives is not widened for a product that rounds it again.

Between linear layers of integers attention alone is put into bf16, where tiles multiply it: what
that loses is less than what the integers have lost, and attention in fp32 would take a third of the
time that is left.
"""

from __future__ import annotations

from dataclasses import replace as changed
from typing import TYPE_CHECKING, Any, cast

import torch

from deepseek.compiler.nodes import calls, dtype_of, is_node, value_of
from deepseek.compiler.operators import Attention, Linear, Norm
from deepseek.compiler.rewrite.clean import drop_unused
from deepseek.kernels import amx
from deepseek.kernels.int8.pack import INT8_ROUNDINGS
from deepseek.kernels.target import current

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from deepseek.compiler.nodes import Constants

__all__ = ["has_tiles", "round_attention", "round_products"]

_aten = torch.ops.aten
_CAST = _aten.to.dtype
_VIEWS = (
    _aten.view.default, _aten.reshape.default, _aten.transpose.int, _aten.permute.default,
    _aten.slice.Tensor, _aten.unsqueeze.default, _aten.squeeze.dim, _aten.select.int,
    _aten.flatten.using_ints, _aten.contiguous.default,
)  # fmt: skip


def round_products(graph: Graph, _constants: Constants) -> None:
    """Let every linear layer with a bf16 weight, and all attention, compute in bf16."""
    rounding = _Rounding()
    for node in list(graph.nodes):
        if node.op != "call_function" or dtype_of(node) != torch.float32:
            continue
        if isinstance(node.target, Linear) and node.target.weight.dtype == torch.bfloat16:
            node.target = changed(node.target, dtype=torch.float32)
            rounding.round_operands(node, 1)
        elif isinstance(node.target, Attention):
            rounding.round_operands(node, 3)
            rounding.widen_after(node)
    rounding.settle(graph)


def round_attention(graph: Graph, _constants: Constants) -> None:
    """Let attention between products of integers compute in bf16, if the processor has AMX."""
    if not has_tiles():
        return
    rounding = _Rounding()
    for node in list(graph.nodes):
        if node.op != "call_function" or dtype_of(node) != torch.float32:
            continue
        if isinstance(node.target, Attention) and all(map(_of_integers, node.args[:3])):
            rounding.round_operands(node, 3)
            rounding.widen_after(node)
        elif _multiplies_integers(node) and _is_widened(node.args[0]):
            node.target = changed(cast("Linear", node.target), dtype=torch.float32)
            rounding.round_operands(node, 1)
    rounding.settle(graph)


def has_tiles() -> bool:
    """Whether this process may multiply bf16 by AMX."""
    return current().amx and amx.allowed()


def _multiplies_integers(node: Any) -> bool:
    return (
        is_node(node)
        and isinstance(node.target, Linear)
        and node.target.weight.rounding in INT8_ROUNDINGS
    )


def _of_integers(x: Any) -> bool:
    """Whether an operand is a view of what a product of integers gave."""
    return _multiplies_integers(_behind_views(x))


def _is_widened(x: Any) -> bool:
    """Whether an operand is a view of what was widened from bf16."""
    source = _behind_views(x)
    return calls(source, _CAST) and dtype_of(source.args[0]) == torch.bfloat16


def _behind_views(x: Any) -> Any:
    while calls(x, *_VIEWS):
        x = x.args[0]
    return x


class _Rounding:
    """Rounds tensors of one graph, each once for all that read it."""

    def __init__(self) -> None:
        self._casts: dict[Node, Node] = {}

    def round_operands(self, node: Node, count: int) -> None:
        """Give a kernel its first operands in bf16."""
        for place in range(count):
            node.update_arg(place, self._rounded(node.args[place]))

    def widen_after(self, node: Node) -> None:
        """Let a kernel give bf16, and what reads it have fp32 as before."""
        value = value_of(node)
        with node.graph.inserting_after(node):
            wide = node.graph.call_function(_CAST, (node, torch.float32))
        wide.meta["val"] = value
        node.replace_all_uses_with(wide, delete_user_cb=lambda user: user is not wide)
        node.meta["val"] = changed(value, dtype=torch.bfloat16)

    def settle(self, graph: Graph) -> None:
        """Give results of kernels in bf16 where nothing reads them otherwise."""
        for node in list(graph.nodes):
            if node.op == "call_function" and dtype_of(node) == torch.float32:
                self._give_rounded(node)
        drop_unused(graph)

    def _rounded(self, x: Any) -> Node:
        if dtype_of(x) == torch.bfloat16:
            node: Node = x
            return node
        if x not in self._casts:
            begin = x.next
            while begin.op == "placeholder":
                begin = begin.next
            with x.graph.inserting_before(begin):
                self._casts[x] = x.graph.call_function(_CAST, (x, torch.bfloat16))
            self._casts[x].meta["val"] = changed(value_of(x), dtype=torch.bfloat16)
        return self._casts[x]

    def _give_rounded(self, node: Node) -> None:
        if not _read_rounded(node):
            return
        target: Any = node.target
        if isinstance(target, Linear) and len(node.args) == 1:
            narrow = None if dtype_of(node.args[0]) == torch.bfloat16 else torch.bfloat16
            node.target = changed(target, dtype=narrow)
            self._round_views(node)
        elif isinstance(target, Norm) and target.dtype is None:
            node.target = changed(target, dtype=torch.bfloat16)
            self._round_views(node)
        elif calls(node, _CAST) and dtype_of(node.args[0]) == torch.bfloat16:
            self._round_views(node)
            node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]  # a node

    def _round_views(self, node: Node) -> None:
        """Views of a result that is in bf16 now need no rounding."""
        node.meta["val"] = changed(value_of(node), dtype=torch.bfloat16)
        for user in list(node.users):
            if _rounds(user):
                user.replace_all_uses_with(node)
                node.graph.erase_node(user)
            else:
                self._round_views(user)


def _read_rounded(node: Node) -> bool:
    """Whether all that becomes of a result, views aside, is that it is rounded to bf16."""
    return bool(node.users) and all(
        _rounds(user) or (calls(user, *_VIEWS) and _read_rounded(user)) for user in node.users
    )


def _rounds(node: Node) -> bool:
    return calls(node, _CAST) and dtype_of(node) == torch.bfloat16
