"""The few LLVM types that kernels use, and what one needs to know about them."""

from llvmlite import ir

__all__ = [
    "BF16", "ELEMENTS", "F32", "I1", "I8", "I16", "I32", "I64", "POINTER", "VOID",
    "bits_of", "bytes_of", "element_of", "is_float", "lanes_of", "suffix_of", "vector",
]  # fmt: skip


class _BFloat(ir.Type):  # type: ignore[misc]  # llvmlite is untyped
    """``bfloat``, which llvmlite's own builder does not know."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


F32 = ir.FloatType()
BF16 = _BFloat()
I1, I8, I16, I32, I64 = (ir.IntType(width) for width in (1, 8, 16, 32, 64))
POINTER = ir.PointerType()
VOID = ir.VoidType()

ELEMENTS = {
    "float32": F32, "bfloat16": BF16, "bool": I8, "uint8": I8, "int8": I8, "int16": I16,
    "int32": I32, "int64": I64,
}  # fmt: skip
"""Types in memory by the names that torch has for its dtypes."""

_BITS = {F32: 32, BF16: 16, POINTER: 64}


def vector(element: ir.Type, lanes: int) -> ir.Type:
    """``<lanes x element>``, or the element itself for one lane."""
    return element if lanes == 1 else ir.VectorType(element, lanes)


def element_of(type_: ir.Type) -> ir.Type:
    """The type of one lane."""
    return type_.element if isinstance(type_, ir.VectorType) else type_


def lanes_of(type_: ir.Type) -> int:
    """How many lanes; 1 for a scalar."""
    return type_.count if isinstance(type_, ir.VectorType) else 1


def is_float(type_: ir.Type) -> bool:
    """Whether arithmetic on it is floating-point arithmetic."""
    return element_of(type_) in (F32, BF16)


def bits_of(element: ir.Type) -> int:
    """Width of one lane in bits."""
    return element.width if isinstance(element, ir.IntType) else _BITS[element]


def bytes_of(element: ir.Type) -> int:
    """Width of one lane in memory, in bytes."""
    return max(1, bits_of(element) // 8)


def suffix_of(type_: ir.Type) -> str:
    """How the names of overloaded intrinsics spell the type: ``v16f32``, ``i64``, ``p0``."""
    if isinstance(type_, ir.PointerType):
        return "p0"
    name: str = element_of(type_).intrinsic_name
    return name if lanes_of(type_) == 1 else f"v{lanes_of(type_)}{name}"
