"""Functions: their arguments, and the loops and conditions within.

Loops are written with Python's own ``for``. Its body runs once while the kernel is being built and
becomes the body of the loop; a variable that it changes is named in ``carry``:

    total = f.variable(f.zeros())
    for column in f.range(0, columns, f.lanes, carry=[total]):
        total += row.load(column)

Leaving the body early (``break``, ``return``) is not possible.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from llvmlite import ir

from deepseek.kernels.emit.array import Array
from deepseek.kernels.emit.builder import Builder
from deepseek.kernels.emit.types import F32, I8, I64, POINTER, bytes_of
from deepseek.kernels.emit.value import Operand, Value, Variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deepseek.kernels.target import Target

__all__ = ["Function"]


class Function(Builder):
    """A function that is being built.

    Args:
        module: Where it is added.
        target: The processor the code is for.
        name: Its symbol.
        parameters: Name -> type.
        returns: Type of its result.

    Attributes:
        parameters: Name -> value.
    """

    def __init__(
        self,
        module: ir.Module,
        target: Target,
        name: str,
        parameters: dict[str, ir.Type],
        returns: ir.Type,
    ) -> None:
        type_ = ir.FunctionType(returns, list(parameters.values()))
        function = ir.Function(module, type_, name)
        function.attributes = _Attributes()
        if target.vector_bytes == 64:
            function.attributes.add('"min-legal-vector-width"="512"')
            function.attributes.add('"prefer-vector-width"="512"')
        super().__init__(module, target, function.append_basic_block("entry"))
        self.parameters: dict[str, Value] = {}
        for argument, parameter in zip(function.args, parameters, strict=True):
            argument.name = parameter
            self.parameters[parameter] = Value(self, argument)

    # Memory

    def array(self, pointer: Value, element: ir.Type = F32, align: int | None = None) -> Array:
        """The array of ``element`` at an address."""
        return Array(self, pointer, element, align)

    def scratch(self, elements: int, element: ir.Type = F32) -> Array:
        """An array on the stack, aligned to 64 bytes, alive until the function returns."""
        size = elements * bytes_of(element)
        with self.ir.goto_entry_block():
            memory = self.ir.alloca(ir.ArrayType(I8, size))
        memory.align = 64
        memory.type = POINTER  # llvmlite makes it a typed pointer, which LLVM no longer has
        return Array(self, Value(self, memory), element)

    def pointer_at(self, address: Value, byte_offset: Operand) -> Value:
        """The address ``byte_offset`` bytes further on."""
        return self.offset(address, byte_offset, I8)

    def null(self, pointer: Value) -> Value:
        """Whether a pointer is null."""
        nothing = ir.FormattedConstant(POINTER, "null")
        return Value(self, self.ir.icmp_unsigned("==", pointer.ir, nothing))

    # Control

    def range(
        self, start: Operand, stop: Operand, step: int = 1, carry: Sequence[Variable] = ()
    ) -> Iterator[Value]:
        """Loop a counter from ``start`` up to, not including, ``stop``.

        Args:
            start: First value.
            stop: End; the body is skipped where it is not above ``start``.
            step: A positive number.
            carry: Variables that the body changes.
        """
        surely = isinstance(start, int) and isinstance(stop, int) and start < stop
        first, end = self.index(start), self.index(stop)
        before, body, after = self.ir.block, self._block("loop"), self._block("after")
        entering = [variable.ir for variable in carry]
        if surely:
            self.ir.branch(body)
        else:
            self.ir.cbranch((first < end).ir, body, after)

        self.ir.position_at_end(body)
        counter = self.ir.phi(I64)
        counter.add_incoming(first.ir, before)
        heads = [self.ir.phi(variable.type) for variable in carry]
        for variable, head, value in zip(carry, heads, entering, strict=True):
            head.add_incoming(value, before)
            variable.ir = head

        yield Value(self, counter)

        following = Value(self, counter) + step
        last = self.ir.block
        counter.add_incoming(following.ir, last)
        for variable, head in zip(carry, heads, strict=True):
            head.add_incoming(variable.ir, last)
        self.ir.cbranch((following < end).ir, body, after)

        self.ir.position_at_end(after)
        arrivals = [(last, [variable.ir for variable in carry])]
        if not surely:
            arrivals.append((before, entering))
        self._merge(carry, arrivals)

    def strips(
        self, length: Value, carry: Sequence[Variable] = (), lanes: int | None = None
    ) -> Iterator[tuple[Value, Value | None]]:
        """Cover ``length`` elements with vectors: full ones, then the rest under a mask.

        The body is emitted twice: with ``mask`` None in a loop, and with a mask for the tail.

        Yields:
            First element of the strip, and the mask of its lanes or None where all are there.
        """
        lanes = self.lanes if lanes is None else lanes
        full = length & -lanes
        for position in self.range(0, full, lanes, carry):
            yield position, None
        with self.when(full < length, carry):
            yield full, self.mask_below(length - full, lanes)

    @contextmanager
    def when(self, condition: Value, carry: Sequence[Variable] = ()) -> Iterator[None]:
        """Do the body only if the condition holds."""
        before, body, after = self.ir.block, self._block("when"), self._block("after")
        entering = [variable.ir for variable in carry]
        self.ir.cbranch(condition.ir, body, after)
        self.ir.position_at_end(body)
        yield
        last = self.ir.block
        self.ir.branch(after)
        self.ir.position_at_end(after)
        leaving = [variable.ir for variable in carry]
        self._merge(carry, [(before, entering), (last, leaving)])

    def finish(self, result: Value | None = None) -> None:
        """Return from the function."""
        if result is None:
            self.ir.ret_void()
        else:
            self.ir.ret(result.ir)

    def _block(self, name: str) -> ir.Block:
        return self.ir.append_basic_block(name)

    def _merge(
        self, carry: Sequence[Variable], arrivals: list[tuple[ir.Block, list[ir.Value]]]
    ) -> None:
        """Give each variable the value of the path that control arrives on."""
        for position, variable in enumerate(carry):
            merged = self.ir.phi(variable.type)
            for block, values in arrivals:
                merged.add_incoming(values[position], block)
            variable.ir = merged


class _Attributes(ir.values.FunctionAttributes):  # type: ignore[misc]  # llvmlite is untyped
    """Function attributes with those that llvmlite does not list.

    Large stack frames are probed page by page, so that a thread with a small stack ends with a
    clean fault rather than in another thread's memory.
    """

    _known = ir.values.FunctionAttributes._known | {  # noqa: SLF001 - the class has no other way
        '"min-legal-vector-width"="512"',
        '"prefer-vector-width"="512"',
        '"probe-stack"="inline-asm"',
        '"no-trapping-math"="true"',
        '"frame-pointer"="none"',
    }

    def __init__(self) -> None:
        super().__init__(["nounwind", '"probe-stack"="inline-asm"', '"no-trapping-math"="true"'])
