"""Which groups are faster as a kernel, and which nodes cost next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.compiler.pointwise.functions import FUNCTIONS
from deepseek.compiler.pointwise.operators import is_no_cast, read
from deepseek.compiler.pointwise.order import elements
from deepseek.compiler.pointwise.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.fx import Node

__all__ = ["is_cheap", "pays"]

_CHEAP = 3
_SINGLE: dict[str, int] = {}


def is_cheap(node: Node) -> bool:
    """Whether computing a node twice costs less than writing it to memory and reading it."""
    writer = Writer()
    read(writer, node)
    return sum(FUNCTIONS[step.function].cost for step in writer.expression.steps) <= _CHEAP


def pays(group: Sequence[Node]) -> bool:
    """Whether a kernel is faster than the operators."""
    value = group[-1].meta["val"]
    working = [node for node in group if not is_no_cast(node)]
    if not value.dim() or not working:
        return False
    if len(working) > 1:
        return True
    (node,) = working
    few = _SINGLE.get(str(node.target))
    count = elements(value)
    return few is not None and (count is None or count >= few)
