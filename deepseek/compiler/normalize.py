"""Brings graphs of AOTAutograd into the form that the passes know from torch.export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.compiler.nodes import argument, calls, dtype_of, operands, replace

if TYPE_CHECKING:
    from torch.fx import Graph, GraphModule, Node

    from deepseek.compiler.nodes import Constants

__all__ = ["lift_constants", "loosen_views", "name_conversions", "takes_nothing_unknown"]

_aten = torch.ops.aten
_VIEWS = (_aten.view.default, _aten._unsafe_view.default)  # noqa: SLF001
_SAME = (None, torch.preserve_format)
_KINDS = ("placeholder", "call_function", "get_attr", "output")


def takes_nothing_unknown(module: GraphModule) -> bool:
    """Whether a graph holds only operators on plain tensors of the CPU.

    No operators that take graphs, none that read strides or change their operands, and no complex
    numbers, whose conjugation is a mark on the tensor and not in memory.
    """
    return all(_is_known(node, module) for node in module.graph.nodes)


def _is_known(node: Node, module: GraphModule) -> bool:
    if node.op not in _KINDS or calls(node, _aten.as_strided.default):
        return False
    if node.op == "get_attr":
        return isinstance(getattr(module, str(node.target), None), Tensor)
    schema = getattr(node.target, "_schema", None)
    if isinstance(node.target, torch._ops.HigherOrderOperator) or (  # noqa: SLF001
        schema is not None and schema.is_mutable
    ):
        return False
    made = node.meta.get("val")
    values = made if isinstance(made, (list, tuple)) else [made]
    return all(_is_plain(value) for value in values if isinstance(value, Tensor))


def _is_plain(value: Tensor) -> bool:
    return value.is_cpu and value.layout == torch.strided and not value.is_complex()


def lift_constants(graph: Graph, module: GraphModule) -> Constants:
    """Make placeholders of the tensors that a graph holds, beside the others; and say which."""
    constants: Constants = {}
    for node in graph.find_nodes(op="get_attr"):
        last = graph.find_nodes(op="placeholder")[-1:]
        first = next(iter(graph.nodes))
        place = graph.inserting_after(last[0]) if last else graph.inserting_before(first)
        with place:
            new = graph.placeholder(f"held_{node.name}")
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
        constants[new] = getattr(module, str(node.target)).detach()
        graph.erase_node(node)
    return constants


def name_conversions(graph: Graph) -> None:
    """Conversions of the dtype alone, under the one name that the passes know; no idle copies.

    Nothing is changed in place in these graphs, so a copy of an intermediate result is as good as
    the result itself.
    """
    for node in list(graph.nodes):
        if calls(node, _aten.clone.default) and argument(node, "memory_format") in _SAME:
            node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]  # a node
            graph.erase_node(node)
            continue
        dtype = _conversion(node)
        if dtype is not None and dtype_of(node.args[0]) != dtype:
            replace(node, _aten.to.dtype, node.args[0], dtype)


def _conversion(node: Node) -> Any:
    if calls(node, torch.ops.prims.convert_element_type.default):
        return node.args[1]
    if not calls(node, _aten._to_copy.default):  # noqa: SLF001
        return None
    given = {key for key, value in node.kwargs.items() if value is not None}
    stays = argument(node, "device") in (None, torch.device("cpu"))
    return argument(node, "dtype") if stays and given <= {"dtype", "device"} else None


def loosen_views(graph: Graph) -> None:
    """Views may copy: a kernel's result need not lie as that of the operator before it did."""
    for node in list(graph.nodes):
        if calls(node, *_VIEWS):
            replace(node, _aten.reshape.default, *operands(node))
