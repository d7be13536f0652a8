"""Reading and writing only some lanes of a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from deepseek.kernels.emit.builder import Builder
from deepseek.kernels.emit.types import (
    I1,
    I32,
    POINTER,
    VOID,
    bits_of,
    bytes_of,
    element_of,
    lanes_of,
    suffix_of,
    vector,
)
from deepseek.kernels.emit.value import Value

if TYPE_CHECKING:
    from deepseek.kernels.target import Target

__all__ = ["load_masked", "store_masked"]


def load_masked(builder: Builder, pointer: Value, type_: ir.Type, mask: Value) -> Value:
    """Read the lanes that the mask has; the others are zero and are not touched in memory."""
    if _has_instruction(builder.target, type_):
        return _load(builder, pointer, type_, mask)
    name = f"masked_load_{suffix_of(type_)}"
    if name not in builder.module.globals:
        inside, (pointer_, mask_) = _begin(builder, name, type_, POINTER, _mask_of(type_))
        inside.ir.ret(_load(inside, pointer_, type_, mask_).ir)
    return builder.call(name, type_, pointer, mask)


def store_masked(builder: Builder, value: Value, pointer: Value, mask: Value) -> None:
    """Write the lanes that the mask has."""
    if _has_instruction(builder.target, value.type):
        _store(builder, value, pointer, mask)
        return
    name = f"masked_store_{suffix_of(value.type)}"
    if name not in builder.module.globals:
        parameters = (value.type, POINTER, _mask_of(value.type))
        inside, (value_, pointer_, mask_) = _begin(builder, name, VOID, *parameters)
        _store(inside, value_, pointer_, mask_)
        inside.ir.ret_void()
    builder.call(name, VOID, value, pointer, mask)


def _has_instruction(target: Target, type_: ir.Type) -> bool:
    """Whether one instruction does it.

    Else it is a branch a lane, and those go into a function of the module: written out at every
    access they would take longer to compile than the rest of a kernel.
    """
    return target.avx512 or (target.avx2 and bits_of(element_of(type_)) >= 32)


def _begin(
    builder: Builder, name: str, returns: ir.Type, *parameters: ir.Type
) -> tuple[Builder, list[Value]]:
    """A builder in a new function of the module, and the values of its parameters."""
    function = ir.Function(builder.module, ir.FunctionType(returns, parameters), name)
    function.linkage = "internal"
    inside = Builder(builder.module, builder.target, function.append_basic_block("entry"))
    return inside, [Value(inside, argument) for argument in function.args]


def _load(builder: Builder, pointer: Value, type_: ir.Type, mask: Value) -> Value:
    name = f"llvm.masked.load.{suffix_of(type_)}.p0"
    align = builder.constant(bytes_of(element_of(type_)), I32)
    return builder.call(name, type_, pointer, align, mask, builder.constant(0, type_))


def _store(builder: Builder, value: Value, pointer: Value, mask: Value) -> None:
    name = f"llvm.masked.store.{suffix_of(value.type)}.p0"
    align = builder.constant(bytes_of(value.element), I32)
    builder.call(name, VOID, value, pointer, align, mask)


def _mask_of(type_: ir.Type) -> ir.Type:
    return vector(I1, lanes_of(type_))
