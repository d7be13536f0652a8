"""AMX: eight registers of 16 rows and 64 bytes, and what multiplies them as a whole.

A tile of weights is 16 steps, of as many columns as a vector has lanes, 4 bytes each; a tile of
activations is 16 rows of the same 16 steps; a tile of sums is 16 rows of a vector each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit.types import I8, I64, VOID

if TYPE_CHECKING:
    from deepseek.kernels.emit.function import Function
    from deepseek.kernels.emit.value import Operand, Value

__all__ = [
    "LINE", "PRODUCTS", "STEPS", "SUMS", "WEIGHTS", "X", "configure", "load", "multiply", "release",
    "store", "zero",
]  # fmt: skip

PRODUCTS = {"bf16": "llvm.x86.tdpbf16ps", "u8s8": "llvm.x86.tdpbusd"}
"""The instruction that multiplies tiles, by the format of the operands."""

STEPS = 16  # of a tile of weights
LINE = 64  # bytes of a row of a tile
SUMS, X, WEIGHTS = ((0, 1), (2, 3)), (4, 5), (6, 7)
"""Which registers hold what: sums by row and column, activations, weights."""


def configure(f: Function, height: Value, steps: Value | None = None) -> None:
    """Set the registers' sizes: 64 bytes wide but for x, as high as there are rows or steps.

    It takes as long as six products, so that it is done once for many tiles. Of the 64 bytes that
    say it, the first is 1; from 16 on stand widths of 2 bytes, from 48 on heights of one byte.
    """
    layout, steps = f.scratch(8, I64), f.index(STEPS) if steps is None else steps
    wide = sum(LINE << 16 * place for place in range(4))
    words = {
        0: f.index(1),
        2: f.index(wide),
        3: steps * (4 + (4 << 16)) + ((LINE << 32) + (LINE << 48)),
        6: height * sum(1 << 8 * place for place in range(6)) + steps * ((1 << 48) + (1 << 56)),
    }
    for word in range(8):
        layout.store(words.get(word, f.index(0)), word)
    f.call("llvm.x86.ldtilecfg", VOID, layout.pointer)


def release(f: Function) -> None:
    """Leave the registers empty, so that nobody saves and restores them any more."""
    f.call("llvm.x86.tilerelease", VOID)


def zero(f: Function, register: int) -> None:
    """Fill a register with zeros."""
    f.call("llvm.x86.tilezero", VOID, f.constant(register, I8))


def load(f: Function, register: int, pointer: Value, pitch: Operand) -> None:
    """Read a tile whose rows are ``pitch`` bytes apart."""
    f.call("llvm.x86.tileloadd64", VOID, f.constant(register, I8), pointer, f.index(pitch))


def store(f: Function, register: int, pointer: Value, pitch: Operand) -> None:
    """Write a tile to rows that are ``pitch`` bytes apart."""
    f.call("llvm.x86.tilestored64", VOID, f.constant(register, I8), pointer, f.index(pitch))


def multiply(f: Function, format_name: str, sums: int, x: int, weights: int) -> None:
    """Add the products of two registers to a third."""
    registers = (f.constant(number, I8) for number in (sums, x, weights))
    f.call(PRODUCTS[format_name], VOID, *registers)
