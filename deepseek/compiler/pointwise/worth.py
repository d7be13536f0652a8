"""Which groups are faster as a kernel, and which nodes cost next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.compiler.nodes import value_of
from deepseek.compiler.pointwise.functions import FUNCTIONS
from deepseek.compiler.pointwise.operators import read
from deepseek.compiler.pointwise.order import elements
from deepseek.compiler.pointwise.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.fx import Node

__all__ = ["is_cheap", "pays"]

_CHEAP = 3
_ANY, _LARGE = 1, 1 << 17  # elements
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

# Functions for which a kernel was faster than torch's operator alone, from how many elements on;
# Sapphire Rapids, one thread, 16,384 and 262,144 elements. fp32: `where` 7 to 17 times,
# comparisons 2 to 9, the tanh form of GELU 3 to 5, ELU 1.7 to 2; SiLU and the like 1.1 to 1.2.
# bf16: `where` 7 to 31 times, tanh 2 to 3, sums and products from 262,144 elements 1.8 to 2.5.
# Casts take as long as torch's, and like tanh in fp32 are here because a replay steps back into
# Python for an operator of torch: 36 microseconds each, half a small layer.
_ALONE = {
    "float32": {
        **dict.fromkeys(("where", "gelu_tanh", "elu", "tanh", "cast", *_COMPARISONS), _ANY),
        **dict.fromkeys(("silu", "sigmoid", "erf"), _LARGE),
    },
    "bfloat16": {
        **dict.fromkeys(("where", "gelu_tanh", "elu", "tanh", "cast", *_COMPARISONS), _ANY),
        **dict.fromkeys(
            (
                "add", "sub", "mul", "div", "maximum", "minimum", "at_least", "at_most", "relu",
                "leaky_relu", "exp", "log", "erf", "sigmoid", "silu", "hardswish",
            ),
            _LARGE,
        ),
    },
    "int64": {"cast": _ANY},
}  # fmt: skip


def is_cheap(node: Node) -> bool:
    """Whether computing a node twice costs less than writing it to memory and reading it."""
    writer = Writer()
    read(writer, node)
    return sum(FUNCTIONS[step.function].cost for step in writer.expression.steps) <= _CHEAP


def pays(group: Sequence[Node]) -> bool:
    """Whether a kernel is faster than the operators."""
    value = value_of(group[-1])
    if not value.dim():
        return False
    if len(group) > 1:
        return True
    writer = Writer()
    read(writer, group[0])
    steps = writer.expression.steps
    few = _ALONE.get(steps[0].compute, {}).get(steps[0].function)
    count = elements(value)
    return few is not None and len(steps) == 1 and (count is None or count >= few)
