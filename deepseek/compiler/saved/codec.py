"""Graphs, and what their nodes hold, as plain JSON values and back.

A value that JSON does not have is an object with one key that begins with ``@``, or one with the
key ``@`` for a data class of the table below. Tensors are kept by name in a dictionary beside it.
"""

from __future__ import annotations

import operator
from dataclasses import fields
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from deepseek.compiler import operators
from deepseek.compiler.pointwise.call import Operation, Pointwise, Ref
from deepseek.compiler.pointwise.expression import Expression, Input, Literal, Step
from deepseek.errors import InputError
from deepseek.kernels.gemm.layout import PackedWeight, check_panels
from deepseek.kernels.target import current

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Decoder", "Encoder"]

_CLASSES: dict[str, type] = {
    each.__qualname__: each
    for each in (
        operators.Attention, operators.Chain, operators.Embedding, operators.Linear,
        operators.Norm, operators.Patches, operators.Rotary, operators.Softmax, Expression, Input,
        Literal, Step, Operation, Ref, PackedWeight, Pointwise,
    )
}  # fmt: skip
_SAVED = {  # the others are saved with all their fields
    PackedWeight: ("panels", "features", "depth", "format", "rounding"),
    Pointwise: ("expression", "operations", "order"),
}
_PYTHON: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv,
        operator.truediv, operator.mod, operator.neg, operator.pow, operator.eq, operator.ne,
        operator.lt, operator.le, operator.gt, operator.ge, torch.sym_int, torch.sym_float,
        torch.sym_max, torch.sym_min, torch.sym_not, torch.sym_ite,
    )
}  # fmt: skip
_FORBIDDEN = frozenset(("from_file",))  # operators that reach beyond their arguments
_TORCH_KINDS: dict[str, type] = {
    "dtype": torch.dtype,
    "layout": torch.layout,
    "memory_format": torch.memory_format,
}


class Encoder:
    """Writes values, and collects their tensors.

    Attributes:
        tensors: What the values refer to, by name.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[object, ...], str] = {}

    def graph(self, graph: Graph) -> list[dict[str, Any]]:
        """The nodes of a graph in their order.

        Raises:
            InputError: A node calls something, or holds something, that has no written form.
        """
        return [self._node(node) for node in graph.nodes]

    def tensor(self, tensor: Tensor) -> str:
        """The name of a tensor; equal views of the same memory share one."""
        key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if key not in self._names:
            name = self._names[key] = f"t{len(self._names)}"
            self.tensors[name] = tensor.detach().contiguous()
        return self._names[key]

    def value(self, value: Any) -> Any:
        """A value of a node's arguments, or of a field."""
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if isfinite(value) else {"@float": repr(value)}
        if isinstance(value, Node):
            return {"@node": value.name}
        if isinstance(value, Tensor):
            return {"@tensor": self.tensor(value)}
        if isinstance(value, tuple):
            return {"@tuple": [self.value(each) for each in value]}
        if isinstance(value, list):
            return [self.value(each) for each in value]
        if isinstance(value, torch.device):
            return {"@device": str(value)}
        if isinstance(value, torch._ops.OpOverload):  # noqa: SLF001 - the class has no other name
            return {"@operator": str(value)}
        for kind, type_ in _TORCH_KINDS.items():
            if isinstance(value, type_):
                return {f"@{kind}": str(value).removeprefix("torch.")}
        return self._object(value)

    def _object(self, value: Any) -> dict[str, Any]:
        name = type(value).__qualname__
        if _CLASSES.get(name) is not type(value):
            raise InputError(f"expected a graph that can be written, got one that holds a {name}")
        names = _fields(type(value))
        return {"@": name, **{each: self.value(getattr(value, each)) for each in names}}

    def _node(self, node: Node) -> dict[str, Any]:
        written: dict[str, Any] = {"name": node.name, "op": node.op}
        if node.op == "call_function":
            written["target"] = self._target(node.target)
        if node.op != "placeholder":
            written["args"] = [self.value(each) for each in node.args]
            written["kwargs"] = {key: self.value(each) for key, each in node.kwargs.items()}
        return written

    def _target(self, target: Any) -> Any:
        name = getattr(target, "__name__", "")
        return {"@python": name} if _PYTHON.get(name) is target else self.value(target)


class Decoder:
    """Reads what an :class:`Encoder` wrote.

    Args:
        tensors: By name.
        spaces: Whose operators may be named.
    """

    def __init__(self, tensors: Mapping[str, Tensor], spaces: Sequence[str] = ("aten",)) -> None:
        self.tensors = tensors
        self.spaces = spaces
        self._nodes: dict[str, Node] = {}
        self._packed: dict[str, PackedWeight] = {}

    def graph(self, nodes: Sequence[Mapping[str, Any]]) -> tuple[Graph, dict[str, Node]]:
        """The graph, and its nodes by name.

        Raises:
            InputError: Something is named that no saved graph may name.
        """
        graph = Graph()
        for written in nodes:
            self._nodes[written["name"]] = self._node(graph, written)
        graph.lint()
        return graph, self._nodes

    def value(self, written: Any) -> Any:
        """A value as it was."""
        if isinstance(written, list):
            return [self.value(each) for each in written]
        if not isinstance(written, dict):
            return written
        if "@" in written:
            return self._object(written)
        (kind, content), *_ = written.items()
        return _READERS[kind](self, content) if kind in _READERS else _unknown(kind)

    def _node(self, graph: Graph, written: Mapping[str, Any]) -> Node:
        op = written["op"]
        if op not in ("placeholder", "call_function", "output"):
            _unknown(op)
        args = tuple(self.value(each) for each in written.get("args", ()))
        kwargs = {key: self.value(each) for key, each in written.get("kwargs", {}).items()}
        target = self.value(written["target"]) if op == "call_function" else written["name"]
        return graph.create_node(op, target, args, kwargs, written["name"])

    def _object(self, written: Mapping[str, Any]) -> Any:
        name = written["@"]
        if name not in _CLASSES:
            _unknown(name)
        names = _fields(_CLASSES[name])
        values = {each: self.value(written[each]) for each in names}
        if name != "PackedWeight":
            return _CLASSES[name](**values)
        weight = PackedWeight(target=current(), **values)
        check_panels(weight)
        return weight


def _fields(class_: Any) -> Sequence[str]:
    return _SAVED.get(class_) or [each.name for each in fields(class_)]


def _operator(decoder: Decoder, name: str) -> Any:
    space, packet, overload = (*name.split("."), "", "")[:3]
    if space not in decoder.spaces or packet in _FORBIDDEN:
        _unknown(name)
    try:
        return getattr(getattr(getattr(torch.ops, space), packet), overload)
    except AttributeError as error:
        raise InputError(f"expected an operator of this torch, got {name}") from error


def _torch_kind(kind: str) -> Callable[[Decoder, str], Any]:
    def read(_decoder: Decoder, name: str) -> Any:
        value = getattr(torch, name, None)
        return value if isinstance(value, _TORCH_KINDS[kind]) else _unknown(name)

    return read


def _aligned(decoder: Decoder, name: str) -> Tensor:
    """A tensor where kernels may load whole registers from."""
    tensor = decoder.tensors[name]
    return tensor if tensor.data_ptr() % 64 == 0 else tensor.clone()


_READERS: dict[str, Callable[[Decoder, Any], Any]] = {
    "@float": lambda _decoder, text: float(text),
    "@node": lambda decoder, name: decoder._nodes[name],  # noqa: SLF001 - its own reader
    "@tensor": _aligned,
    "@tuple": lambda decoder, values: tuple(decoder.value(each) for each in values),
    "@device": lambda _decoder, name: torch.device(name),
    "@operator": _operator,
    "@python": lambda _decoder, name: _PYTHON.get(name) or _unknown(name),
    **{f"@{kind}": _torch_kind(kind) for kind in _TORCH_KINDS},
}


def _unknown(name: object) -> Any:
    raise InputError(f"expected a compiled model of this version, found {name!r} in it")
