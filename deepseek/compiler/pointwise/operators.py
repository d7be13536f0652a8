"""Which ATen operators are pointwise, and the steps that each of them is.

A reader takes an operator's arguments by the names of its schema, defaults filled in.
"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

import torch
from torch._ops import OpOverload
from torch.fx import Node

from deepseek.compiler.looks import Look
from deepseek.compiler.nodes import value_of
from deepseek.compiler.pointwise.writer import DTYPES, UnsupportedError, promoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepseek.compiler.pointwise.writer import Writer

    Arguments = dict[str, Any]
    Reader = Callable[[Writer, Arguments, torch.dtype], int]

__all__ = ["READERS", "is_cast", "is_no_cast", "read"]

_FLOATS = (torch.float32, torch.bfloat16)
_COPY = torch.ops.aten._to_copy.default  # noqa: SLF001 - an operator's name
_MOST = 8  # the highest power that repeated products give within 2e-6


def read(writer: Writer, node: Node) -> None:
    """Write down what a node computes from values that the writer has.

    Raises:
        UnsupportedError: No kernel computes it.
    """
    reader = READERS.get(node.target) if isinstance(node.target, OpOverload) else None
    value = value_of(node)
    if reader is None or not isinstance(value, Look) or value.dtype not in DTYPES:
        raise UnsupportedError(node.name)
    if value.device.type != "cpu":
        raise UnsupportedError(node.name)
    assert isinstance(node.target, OpOverload)
    writer.values[node] = reader(writer, _bound(node.target, node), value.dtype)


def is_cast(node: Node) -> bool:
    """Whether an operator that kernels compute changes the dtype and nothing else."""
    return READERS.get(node.target) is _cast  # type: ignore[call-overload]


def is_no_cast(node: Node) -> bool:
    """Whether a cast gives back its operand: the dtype is the same, and no copy is asked for."""
    if not is_cast(node) or node.target is _COPY:
        return False
    assert isinstance(node.target, OpOverload)
    given = _bound(node.target, node)
    source, value = given["self"], value_of(node)
    before = value_of(source) if isinstance(source, Node) else None
    if given.get("copy") or not isinstance(before, Look):
        return False
    return isinstance(value, Look) and (
        before.dtype == value.dtype and before.device == value.device and _is_plain(given, before)
    )


def _bound(target: OpOverload, node: Node) -> Arguments:
    arguments: Arguments = {}
    for position, argument in enumerate(target._schema.arguments):  # noqa: SLF001 - has no other name
        if position < len(node.args):
            arguments[argument.name] = node.args[position]
        else:
            arguments[argument.name] = node.kwargs.get(argument.name, argument.default_value)
    return arguments


def _same(function: str, *names: str) -> Reader:
    """Operands brought to the result's dtype."""

    def reader(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
        return w.step(function, [w.operand(a[name]) for name in names], dtype)

    return reader


def _floating(function: str, *names: str) -> Reader:
    """As :func:`_same`, of floating-point results alone."""

    def reader(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
        if dtype not in _FLOATS:
            raise UnsupportedError(function)
        exact = tuple(range(1, len(names)))
        return w.step(function, [w.operand(a[name]) for name in names], dtype, exact=exact)

    return reader


def _scaled(function: str) -> Reader:
    """Products and quotients: torch keeps a single second number in fp32 where bf16 is computed."""

    def reader(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
        operands = [w.operand(a["self"]), w.operand(a["other"])]
        return w.step(function, operands, dtype, exact=(1,))

    return reader


def _sum(function: str) -> Reader:
    """``self + alpha * other``, ``-`` for ``sub``, and the sides exchanged for ``rsub``."""

    def reader(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
        left, right = w.operand(a["self"]), w.operand(a["other"])
        alpha = a["alpha"]
        if function == "rsub":
            left, right = right, left
        if alpha == 1:
            return w.step("add" if function == "add" else "sub", [left, right], dtype)
        # torch rounds bf16 at other places there, and numbers of a graph may be anything.
        if dtype in (torch.bool, torch.bfloat16) or function == "rsub" or isinstance(alpha, Node):
            raise UnsupportedError(function)
        factor = w.operand(alpha if function == "add" else -alpha)
        return w.step("add_product", [left, right, factor], dtype)

    return reader


def _compared(function: str) -> Reader:
    def reader(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
        operands = [w.operand(a["self"]), w.operand(a["other"])]
        return w.step(function, operands, promoted(a["self"], a["other"]), dtype)

    return reader


def _logical(function: str, *names: str) -> Reader:
    """Of the truth of operands, whatever their dtypes."""

    def reader(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
        return w.step(function, [w.operand(a[name]) for name in names], torch.bool, dtype)

    return reader


def _where(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
    operands = [w.operand(a[name]) for name in ("condition", "self", "other")]
    return w.step("where", operands, dtype, conditions=1)


def _masked_fill(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
    value = a["value"]
    if promoted(a["self"], value) != dtype:  # a float into whole numbers
        raise UnsupportedError("masked_fill")
    operands = [w.operand(a["mask"]), w.operand(value), w.operand(a["self"])]
    return w.step("where", operands, dtype, conditions=1)


def _clamp(low: str | None, high: str | None) -> Reader:
    def reader(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
        result = w.operand(a["self"])
        bounds = [
            (function, a[name])
            for function, name in (("at_least", low), ("at_most", high))
            if name is not None and a[name] is not None
        ]
        for function, bound in bounds:
            if not isinstance(bound, (int, float)) or isnan(bound):
                raise UnsupportedError("clamp")
            result = w.step(function, [result, w.operand(bound)], dtype)
        return result if bounds and isinstance(result, int) else _refuse("clamp")

    return reader


def _bounded(low: float, high: float) -> Reader:
    def reader(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
        x = w.step("at_least", [w.operand(a["self"]), w.operand(low)], dtype)
        return w.step("at_most", [x, w.operand(high)], dtype)

    return reader


def _gelu(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
    function = "gelu" if a["approximate"] == "none" else "gelu_tanh"
    return _floating(function, "self")(w, a, dtype)


def _elu(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
    alpha, scale, inner = (a[name] for name in ("alpha", "scale", "input_scale"))
    if dtype not in _FLOATS or not all(isinstance(x, (int, float)) for x in (alpha, scale, inner)):
        raise UnsupportedError("elu")
    factors = [w.operand(float(x)) for x in (alpha * scale, scale, inner)]
    return w.step("elu", [w.operand(a["self"]), *factors], dtype, exact=(1, 2, 3))


def _power(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
    """Products in torch's order for squares and cubes, by repeated squaring beyond."""
    exponent, x = a["exponent"], w.operand(a["self"])
    if not isinstance(exponent, (int, float)) or dtype not in _FLOATS:
        raise UnsupportedError("pow")
    if exponent in (0.5, -0.5):
        return w.step("sqrt" if exponent > 0 else "rsqrt", [x], dtype)
    if exponent != int(exponent) or not 0 < abs(exponent) <= _MOST:
        raise UnsupportedError("pow")
    count = int(abs(exponent))
    # torch rounds squares and cubes of bf16 after each product, higher powers once.
    within = dtype if count <= 3 else torch.float32
    if count == 1:
        return w.step("reciprocal", [x], dtype) if exponent < 0 else _refuse("pow")
    result = _product(w, x, count, within)
    if exponent < 0:
        return w.step("reciprocal", [result], within, dtype)
    return result if within == dtype else w.step("cast", [result], within, dtype)


def _product(w: Writer, x: Any, count: int, dtype: torch.dtype) -> int:
    square = w.step("mul", [x, x], dtype)
    if count <= 3:
        return square if count == 2 else w.step("mul", [square, x], dtype)
    half = _product(w, x, count // 2, dtype) if count // 2 > 1 else x
    result = w.step("mul", [half, half], dtype)
    return w.step("mul", [result, x], dtype) if count % 2 else result


def _refuse(function: str) -> int:
    raise UnsupportedError(function)


def _cast(w: Writer, a: Arguments, dtype: torch.dtype) -> int:
    """Copies that change nothing but the dtype."""
    source = value_of(a["self"])
    if not _is_plain(a, source):
        raise UnsupportedError("to")
    return w.step("cast", [w.operand(a["self"])], source.dtype, dtype)


def _is_plain(a: Arguments, source: Look) -> bool:
    """Whether a cast leaves device and layout alone."""
    return (
        a.get("device") in (None, source.device)
        and a.get("layout") in (None, torch.strided)
        and a.get("memory_format") in (None, torch.preserve_format)
    )


_FLOATING = (
    "exp", "log", "sqrt", "rsqrt", "reciprocal", "tanh", "sigmoid", "erf", "silu", "hardswish",
    "hardsigmoid",
)  # fmt: skip

_OVERLOADS: dict[str, dict[str, Reader]] = {
    "Tensor Scalar": {
        "add": _sum("add"),
        "sub": _sum("sub"),
        "subtract": _sum("sub"),
        "rsub": _sum("rsub"),
        "mul": _scaled("mul"),
        "multiply": _scaled("mul"),
        "div": _scaled("div"),
        "true_divide": _scaled("div"),
        "masked_fill": _masked_fill,
        **{name: _compared(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
        **{f"bitwise_{name}": _same(name, "self", "other") for name in ("and", "or", "xor")},
        **{f"__{name}__": _same(name, "self", "other") for name in ("and", "or", "xor")},
    },
    "default": {
        **{name: _floating(name, "self") for name in _FLOATING},
        "neg": _same("neg", "self"),
        "negative": _same("neg", "self"),
        "abs": _same("abs", "self"),
        "relu": _same("relu", "self"),
        "square": _same("mul", "self", "self"),
        "maximum": _same("maximum", "self", "other"),
        "minimum": _same("minimum", "self", "other"),
        "gelu": _gelu,
        "leaky_relu": _floating("leaky_relu", "self", "negative_slope"),
        "elu": _elu,
        "clamp": _clamp("min", "max"),
        "clamp_min": _clamp("min", None),
        "clamp_max": _clamp(None, "max"),
        "hardtanh": _clamp("min_val", "max_val"),
        "relu6": _bounded(0.0, 6.0),
        "logical_and": _logical("and", "self", "other"),
        "logical_or": _logical("or", "self", "other"),
        "logical_xor": _logical("xor", "self", "other"),
        "logical_not": _logical("not", "self"),
        "bitwise_not": _same("not", "self"),
        "_to_copy": _cast,
        "type_as": _cast,
    },
    "Tensor_Scalar": {"pow": _power},
    "self ScalarOther ScalarSelf Scalar": {"where": _where},
    "dtype device other dtype_layout": {"to": _cast},
}


def _readers() -> dict[OpOverload, Reader]:
    return {
        getattr(getattr(torch.ops.aten, name), overload): reader
        for overloads, readers in _OVERLOADS.items()
        for name, reader in readers.items()
        for overload in overloads.split()
    }


READERS = _readers()
"""Every operator that kernels compute, and what reads it."""
