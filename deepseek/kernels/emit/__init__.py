"""Write kernels that read like mathematics: a small layer over ``llvmlite.ir``.

A softmax over the rows of a matrix, whole::

    ARGUMENTS = Arguments(x="pointer", out="pointer", columns="int")

    def build_softmax(target):
        module = Module("softmax", target)
        with module.task(ARGUMENTS) as f:
            a = f.arguments
            for row in f.range(f.begin, f.end):
                x = f.array(a.x).at(row * a.columns)
                out = f.array(a.out).at(row * a.columns)

                top = f.variable(f.full(-inf))
                for column, mask in f.strips(a.columns, carry=[top]):
                    top.set(f.maximum(top, x.load(column, mask, other=-inf)))
                highest = f.reduce("max", top).splat()

                total = f.variable(f.zeros())
                for column, mask in f.strips(a.columns, carry=[total]):
                    e = math.exp(x.load(column, mask, other=-inf) - highest)
                    out.store(e, column, mask)
                    total += e
                scale = (1.0 / f.reduce("add", total)).splat()

                for column, mask in f.strips(a.columns):
                    out.store(out.load(column, mask) * scale, column, mask)
        return module

Python's ``for`` and ``with`` run once, while the kernel is being built; what they emit is the loop
or the condition. Then ``jit.kernel(build_softmax)`` compiles it, and ``parallel.run(kernel,
ARGUMENTS.pack(...), rows)`` runs it on all threads.
"""

from deepseek.kernels.emit import dot, math, tiles
from deepseek.kernels.emit.array import Array
from deepseek.kernels.emit.function import Function
from deepseek.kernels.emit.module import Arguments, Module, Task
from deepseek.kernels.emit.shuffle import fold, transpose
from deepseek.kernels.emit.types import (
    BF16,
    ELEMENTS,
    F32,
    I1,
    I8,
    I16,
    I32,
    I64,
    POINTER,
    VOID,
    vector,
)
from deepseek.kernels.emit.value import Operand, Value, Variable

__all__ = [
    "BF16", "ELEMENTS", "F32", "I1", "I8", "I16", "I32", "I64", "POINTER", "VOID",
    "Arguments", "Array", "Function", "Module", "Operand", "Task", "Value", "Variable",
    "dot", "fold", "math", "tiles", "transpose", "vector",
]  # fmt: skip
