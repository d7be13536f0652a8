"""Why an operator of a rewritten graph is left to ATen."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from deepseek.compiler.nodes import argument, dtype_of, shape_of
from deepseek.compiler.pointwise.operators import READERS
from deepseek.kernels.attend.spec import MOST_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor
    from torch.fx import Node

__all__ = ["gives_view", "reason_for"]

_aten = torch.ops.aten
_FLOATS = (torch.float32, torch.bfloat16)


def reason_for(node: Node, constants: Mapping[Node, Tensor]) -> str:
    """Why no kernel took a call of an ATen operator."""
    explain = _REASONS.get(node.target)
    if explain is None:
        return "no kernel"
    kinds = {dtype_of(source) for source in node.all_input_nodes} - {None, torch.bool, torch.int64}
    others = [kind for kind in kinds if kind not in _FLOATS]
    if others:
        return f"dtype {str(others[0]).removeprefix('torch.')}"
    if len(kinds) > 1:
        return "operands of several dtypes"
    return explain(node, constants)


def _product(node: Node, constants: Mapping[Node, Tensor]) -> str:
    place = 2 if node.target is _aten.addmm.default else 1
    return "shape" if node.args[place] in constants else "weight not constant"


def _attention(node: Node, _constants: Mapping[Node, Tensor]) -> str:
    depth: Any = (shape_of(node.args[0]) or (None,))[-1]
    if not isinstance(depth, int):
        return "heads of a size that changes"
    if depth > MOST_DEPTH:
        return f"heads of {depth}, more than {MOST_DEPTH}"
    return "random zeros" if argument(node, "dropout_p") else "shape"


def _rows(node: Node, constants: Mapping[Node, Tensor]) -> str:
    weights = [argument(node, name) for name in ("weight", "bias")]
    if any(weight is not None and weight not in constants for weight in weights):
        return "weight not constant"
    return "not over the last dimension alone"


def _softmax(_node: Node, _constants: Mapping[Node, Tensor]) -> str:
    return "not over the last dimension, or into another dtype"


def _alone(_node: Node, _constants: Mapping[Node, Tensor]) -> str:
    return "nothing beside it to be fused with"


_REASONS: dict[Any, Callable[[Node, Mapping[Node, Tensor]], str]] = {
    **dict.fromkeys(READERS, _alone),
    _aten.linear.default: _product,
    _aten.addmm.default: _product,
    _aten.mm.default: _product,
    _aten.matmul.default: _product,
    _aten.scaled_dot_product_attention.default: _attention,
    _aten.layer_norm.default: _rows,
    _aten.rms_norm.default: _rows,
    _aten.softmax.int: _softmax,
    _aten.log_softmax.int: _softmax,
}


@cache
def gives_view(target: Any) -> bool:
    """Whether an operator returns parts of its input, in general: ATen may have to copy."""
    if target in (_aten.reshape.default, _aten.contiguous.default, _aten.flatten.using_ints):
        return True
    info = [result.alias_info for result in target._schema.returns]  # noqa: SLF001
    return bool(info) and all(alias is not None and not alias.is_write for alias in info)
