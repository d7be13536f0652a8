"""What happens to a finished tile: bias, activation, factor, addend, rounding, storing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import F32, I64, POINTER, math
from deepseek.kernels.gemm.microkernel import ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepseek.kernels.emit import Arguments, Array, Module, Value
    from deepseek.kernels.gemm.spec import Epilogue, Tile

__all__ = ["emit_epilogue"]

_ACTIVATIONS: dict[str, Callable[[Value], Value]] = {
    "relu": math.relu,
    "gelu": math.gelu,
    "gelu_tanh": math.gelu_tanh,
    "silu": math.silu,
}

_PARAMETERS = {
    "arguments": POINTER, "tile": POINTER, "row": I64, "column": I64, "height": I64,
}  # fmt: skip


def emit_epilogue(module: Module, arguments: Arguments, epilogue: Epilogue, tile: Tile) -> str:
    """Add the function that stores a tile's sums as results, and return its name.

    Its parameters: the kernel's arguments, the tile, its place in the result, its rows. Columns
    beyond the last one are left out by a mask.
    """
    name = "epilogue"
    with module.function(name, _PARAMETERS) as f:
        p = f.parameters
        a = arguments.read(f, p["arguments"])
        sums = f.array(p["tile"], F32)
        width = f.minimum(a.columns - p["column"], tile.columns)

        def place(pointer: Value, dtype: str, stride: Value, row: Value) -> Array:
            return f.array(pointer, ELEMENTS[dtype]).at(row * stride + p["column"])

        for line in f.range(0, p["height"]):
            row = p["row"] + line
            out = place(a.out, epilogue.out, a.out_stride, row)
            for column, mask in f.strips(width):
                y = sums.load(line * tile.columns + column)
                if epilogue.bias:
                    bias = f.array(a.bias, ELEMENTS[epilogue.bias]).at(p["column"])
                    y = y + bias.load(column, mask)
                if epilogue.activation:
                    y = _ACTIVATIONS[epilogue.activation](y)
                if epilogue.multiply:
                    factor = place(a.multiply, epilogue.multiply, a.multiply_stride, row)
                    y = y * factor.load(column, mask)
                if epilogue.residual:
                    addend = place(a.residual, epilogue.residual, a.residual_stride, row)
                    y = y + addend.load(column, mask)
                out.store(y, column, mask)
    return name
