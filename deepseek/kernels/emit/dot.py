"""Sums of integer products within 32-bit lanes, by the instruction that a processor has.

All operands are vectors of 32-bit lanes. Sums wrap around; nothing saturates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit.types import I8, I16

if TYPE_CHECKING:
    from deepseek.kernels.emit.value import Value

__all__ = ["pairs", "quads"]

_MULTIPLY_ADD = {
    4: "llvm.x86.sse2.pmadd.wd",
    8: "llvm.x86.avx2.pmadd.wd",
    16: "llvm.x86.avx512.pmaddw.d.512",
}


def quads(total: Value, x: Value, w: Value) -> Value:
    """``total`` plus four products of 8-bit integers a lane.

    ``w`` has signs. ``x`` has none on x86 (VNNI), and has them on Arm (dotprod); a processor with
    neither has no such instruction.
    """
    b = total.builder
    if b.target.vnni:
        return b.call(f"llvm.x86.avx512.vpdpbusd.{32 * total.lanes}", total.type, total, x, w)
    assert b.target.dotprod
    name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
    return b.call(name, total.type, total, w.bits(I8), x.bits(I8))


def pairs(total: Value, x: Value, w: Value) -> Value:
    """``total`` plus two products of signed 16-bit integers a lane, on any processor."""
    b = total.builder
    if b.target.vnni:
        return b.call(f"llvm.x86.avx512.vpdpwssd.{32 * total.lanes}", total.type, total, x, w)
    if b.target.architecture == "x86_64":
        name = _MULTIPLY_ADD[total.lanes]
        return total + b.call(name, total.type, x.bits(I16), w.bits(I16))
    return total + ((x << 16) >> 16) * ((w << 16) >> 16) + (x >> 16) * (w >> 16)
