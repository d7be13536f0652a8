"""Write kernels that read like mathematics: a small layer over ``llvmlite.ir``.

A softmax over rows, whole:

    ARGUMENTS = Arguments(x="pointer", out="pointer", columns="int", stride="int")

    def softmax(target):
        module = Module("softmax", target)
        with module.task(ARGUMENTS) as f:
            a = f.arguments
            for row in f.range(f.begin, f.end):
                x, out = f.array(a.x).at(row * a.stride), f.array(a.out).at(row * a.columns)
                top = f.variable(f.constant(-inf, f.vector))
                for column, mask in f.strips(a.columns, carry=[top]):
                    ...
        return module
"""

from deepseek.kernels.emit import math
from deepseek.kernels.emit.array import Array
from deepseek.kernels.emit.function import Function
from deepseek.kernels.emit.module import Arguments, Module, Task
from deepseek.kernels.emit.shuffle import transpose
from deepseek.kernels.emit.types import BF16, F32, I1, I8, I16, I32, I64, POINTER, VOID, vector
from deepseek.kernels.emit.value import Operand, Value, Variable

__all__ = [
    "BF16", "F32", "I1", "I8", "I16", "I32", "I64", "POINTER", "VOID",
    "Arguments", "Array", "Function", "Module", "Operand", "Task", "Value", "Variable",
    "math", "transpose", "vector",
]  # fmt: skip
