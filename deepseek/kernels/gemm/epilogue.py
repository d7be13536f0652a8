"""What happens to a finished tile: scales, bias, activation, factor, addend, rounding, storing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import ELEMENTS, F32, I8, I32, math
from deepseek.kernels.gemm.microkernel import STORE
from deepseek.kernels.gemm.spec import COARSE, HEADER, SIZES

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import SimpleNamespace

    from deepseek.kernels.emit import Arguments, Array, Function, Module, Value
    from deepseek.kernels.gemm.spec import Epilogue, Format, Tile

__all__ = ["emit_epilogue", "panel_size"]

_ACTIVATIONS: dict[str, Callable[[Value], Value]] = {
    "relu": math.relu,
    "gelu": math.gelu,
    "gelu_tanh": math.gelu_tanh,
    "silu": math.silu,
    "gelu_coarse": math.gelu_coarse,
    "gelu_tanh_coarse": math.gelu_tanh_coarse,
    "silu_coarse": math.silu_coarse,
}


def panel_size(a: SimpleNamespace, scheme: Format, tile: Tile) -> Value:
    """Bytes of a panel of weights."""
    steps: Value = (a.steps + a.half) * scheme.word
    return (steps + scheme.footer) * tile.columns


def emit_epilogue(
    module: Module, arguments: Arguments, scheme: Format, epilogue: Epilogue, tile: Tile
) -> str:
    """Add the function that stores a tile's sums as results, and return its name.

    It takes :data:`~.microkernel.STORE`. Columns beyond the last one are left out by a mask.
    """
    name = "epilogue"
    activation = epilogue.activation
    if activation and epilogue.out == "bfloat16":
        activation = COARSE.get(activation, activation)
    with module.function(name, STORE) as f:
        p = f.parameters
        a = arguments.read(f, p["arguments"])
        sums = f.array(p["sums"], ELEMENTS[scheme.sums])
        width = f.minimum(a.columns - p["column"], tile.columns)

        def place(pointer: Value, dtype: str, stride: Value, row: Value) -> Array:
            return f.array(pointer, ELEMENTS[dtype]).at(row * stride + p["column"])

        for line in f.range(p["first"], p["last"]):
            row = p["row"] + line
            out = place(a.out, epilogue.out, a.out_stride, row)
            for column, mask in f.strips(width):
                y = sums.load(line * tile.columns + column)
                if scheme.sums == "int32":
                    y = _numbers(f, a, scheme, tile, y, row, p["column"], column)
                if epilogue.bias:
                    bias = f.array(a.bias, ELEMENTS[epilogue.bias]).at(p["column"])
                    y = y + bias.load(column, mask)
                if activation:
                    y = _ACTIVATIONS[activation](y)
                if epilogue.multiply:
                    factor = place(a.multiply, epilogue.multiply, a.multiply_stride, row)
                    y = y * factor.load(column, mask)
                if epilogue.residual:
                    addend = place(a.residual, epilogue.residual, a.residual_stride, row)
                    y = y + addend.load(column, mask)
                out.store(y, column, mask)
    return name


def _numbers(
    f: Function, a: SimpleNamespace, scheme: Format, tile: Tile,
    sums: Value, row: Value, first: Value, column: Value,
) -> Value:  # fmt: skip
    """The numbers that sums of integers stand for: unshifted, times both scales.

    A row was stored with a shift added to every integer, which adds the shift times the sum of the
    column's weights to the sum.
    """
    header = f.offset(a.x, row * (a.x_stride * SIZES[scheme.x]) - HEADER, I8)
    end = (first // tile.columns + 1) * panel_size(a, scheme, tile)
    footer = f.offset(a.weight, end - scheme.footer * tile.columns, I8)
    scales, weight_sums = f.array(footer, F32), f.array(footer, I32).at(tile.columns)

    shift = f.array(header, I32).spread(1)
    exact = sums - shift * weight_sums.load(column)
    of_row = exact.to(F32) * f.array(header, F32).spread()
    return f.rounded_product(of_row, scales.load(column))
