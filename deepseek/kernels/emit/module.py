"""Modules: what is compiled at once, and the kernels in it.

A kernel is a task function ``(arguments, begin, end)``: a pointer to its packed arguments and a
range of its units of work. :mod:`deepseek.kernels.parallel` hands out such ranges to threads.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

from llvmlite import ir

from deepseek.kernels.emit.function import Function
from deepseek.kernels.emit.types import F32, I64, POINTER, VOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deepseek.kernels.emit.value import Value
    from deepseek.kernels.target import Target

__all__ = ["Arguments", "Module", "Task"]

_KINDS = {"pointer": (POINTER, "q"), "int": (I64, "q"), "float": (F32, "f4x")}


class Arguments:
    """The arguments of a kernel: written by Python as one block of bytes, read by the kernel.

    Args:
        fields: Name -> ``pointer``, ``int`` (64 bits) or ``float`` (fp32), each in 8 bytes.
    """

    def __init__(self, **fields: str) -> None:
        self.fields = fields
        self._format = struct.Struct("=" + "".join(_KINDS[kind][1] for kind in fields.values()))

    def pack(self, *values: float) -> bytes:
        """The block that a kernel reads, from values in the order of the fields."""
        return self._format.pack(*values)

    def bind(self, *last: float) -> Callable[..., bytes]:
        """A faster :meth:`pack` whose last fields are fixed: it takes the values of the others."""
        kinds = list(self.fields.values())
        free = len(kinds) - len(last)
        pack_first = struct.Struct("=" + "".join(_KINDS[kind][1] for kind in kinds[:free])).pack
        fixed = struct.pack("=" + "".join(_KINDS[kind][1] for kind in kinds[free:]), *last)
        return lambda *first: pack_first(*first) + fixed

    def read(self, function: Function, block: Value) -> SimpleNamespace:
        """Emit the loads of all fields; those that a kernel does not use cost nothing."""
        values = {
            name: function.load(function.pointer_at(block, 8 * position), _KINDS[kind][0], align=8)
            for position, (name, kind) in enumerate(self.fields.items())
        }
        return SimpleNamespace(**values)


class Task(Function):
    """A kernel's entry: runs its units of work from ``begin`` up to, not including, ``end``.

    Attributes:
        arguments: The kernel's arguments, a value a field.
        block: The address of the packed arguments, to hand on to other functions.
        begin: First unit of work.
        end: Where to stop.
    """

    def __init__(self, module: ir.Module, target: Target, name: str, arguments: Arguments) -> None:
        super().__init__(
            module, target, name, {"arguments": POINTER, "begin": I64, "end": I64}, VOID
        )
        self.block = self.parameters["arguments"]
        self.begin = self.parameters["begin"]
        self.end = self.parameters["end"]
        self.arguments = arguments.read(self, self.block)


class Module:
    """Functions that are compiled together for a target.

    Args:
        name: What the module is, as a symbol: the default name of its task.
        target: The processor the code is for.
    """

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self.target = target
        self.ir = ir.Module(name, context=ir.Context())
        self.ir.triple = target.triple

    @contextmanager
    def function(
        self,
        name: str,
        parameters: dict[str, ir.Type],
        returns: ir.Type = VOID,
        *,
        exported: bool = False,
    ) -> Iterator[Function]:
        """Build a function for the module's other functions, or one that is seen from outside.

        It returns at the end of the body unless the body has done so.
        """
        function = Function(self.ir, self.target, name, parameters, returns)
        if not exported:
            function.ir.function.linkage = "internal"
        yield function
        if not function.ir.block.is_terminated:
            function.finish()

    @contextmanager
    def task(self, arguments: Arguments, name: str | None = None) -> Iterator[Task]:
        """Build the kernel's entry."""
        task = Task(self.ir, self.target, name or self.name, arguments)
        yield task
        task.finish()

    def __str__(self) -> str:
        return str(self.ir)
