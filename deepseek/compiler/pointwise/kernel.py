"""The kernel of an expression: rows of the result, a vector at a time, for sizes known at run time.

What does not change along a row is computed once a row, and what does not change at all once a
task.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.compiler.pointwise.expression import Expression, Literal
from deepseek.compiler.pointwise.functions import FUNCTIONS, rounded
from deepseek.kernels.emit import BF16, ELEMENTS, F32, I1, I16, I64, Arguments, Module, Value
from deepseek.kernels.emit.types import vector
from deepseek.kernels.rows.sweep import walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from llvmlite import ir

    from deepseek.compiler.pointwise.expression import Input, Operand, Step
    from deepseek.kernels.emit import Array, Task
    from deepseek.kernels.rows.sweep import Place
    from deepseek.kernels.target import Target

__all__ = ["Form", "arguments_of", "build_pointwise", "sources"]

_REGISTERS = {"float32": F32, "bfloat16": F32, "int64": I64, "int32": ELEMENTS["int32"], "bool": I1}
_LEVELS = {"number": 0, "scalar": 0, "spread": 1, "dense": 2, "strided": 2}


@dataclass(frozen=True, slots=True)
class Form:
    """What a kernel is compiled for.

    Attributes:
        expression: What it computes.
        layouts: How each input lies along a row of the result: ``dense``, one element after the
            other; ``spread``, the same element all along; ``strided``; else the input's kind.
    """

    expression: Expression
    layouts: tuple[str, ...]


def arguments_of(form: Form) -> Arguments:
    """The kernel's arguments: each input, the result's address, then sizes and strides.

    Sizes are ``width``, elements a row; ``limit``, elements of the result, where the last row ends;
    ``middle`` and ``inner``, of the second and third leading dimension. An input that is no single
    number has strides of the three leading dimensions, and within a row if it is ``strided``.
    """
    fields = {f"x{i}": _kind(x) for i, x in enumerate(form.expression.inputs)}
    fields |= {"out": "pointer", "width": "int", "limit": "int", "middle": "int", "inner": "int"}
    for i, layout in enumerate(form.layouts):
        if _LEVELS[layout]:
            fields |= dict.fromkeys((f"outer{i}", f"middle{i}", f"inner{i}"), "int")
        if layout == "strided":
            fields[f"step{i}"] = "int"
    return Arguments(**fields)


def build_pointwise(target: Target, form: Form, sources: str = "") -> Module:  # noqa: ARG001
    """A module whose task ``deepseek_pointwise`` computes rows of the result.

    ``sources`` is part of the kernel's identity alone; see :func:`sources`.
    """
    module = Module("deepseek_pointwise", target)
    with module.task(arguments_of(form)) as f:
        a, emitter = f.arguments, _Emitter(f, form)
        a, emitter = f.arguments, _Emitter(f, form)
        constant = emitter.values(0, {}, emitter.constant)
        out = f.array(a.out, ELEMENTS[form.expression.dtype])
        for place in walk(f, a.middle, a.inner):
            begin = place.row * a.width
            length = f.minimum(a.width, a.limit - begin)
            row = out.at(begin)
            even = emitter.values(1, constant, partial(emitter.even, place))
            arrays = {i: emitter.at(place, i) for i in emitter.along}
            for column, mask in f.strips(length):
                load = partial(emitter.element, arrays, column, mask, length)
                result = emitter.values(2, even, load)[emitter.last]
                row.store(result, column, mask)
    return module


@lru_cache(maxsize=1)
def sources() -> str:
    """A digest of what decides, besides :mod:`deepseek.kernels`, what a form is compiled to."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Emitter:
    """Emits the values of an expression, each as far outside the loops as it can be.

    Args:
        f: The task that is being built.
        form: What it is built for.

    Attributes:
        last: Number of the value that is the result.
        along: Inputs that change along a row.
    """

    def __init__(self, f: Task, form: Form) -> None:
        self.f = f
        self.form = form
        self.inputs, self.steps = form.expression.inputs, form.expression.steps
        self.levels = [_LEVELS[layout] for layout in form.layouts]
        for step in self.steps:
            of = [self.levels[x] for x in step.operands if not isinstance(x, Literal)]
            self.levels.append(max(of, default=0))
        self.last = len(self.levels) - 1
        self.along = [i for i in range(len(self.inputs)) if self.levels[i] == 2]

    def values(
        self, level: int, known: dict[int, Value], load: Callable[[int], Value]
    ) -> dict[int, Value]:
        """All values up to a level, given those of the levels below and what loads an input."""
        values = dict(known)
        for i, its_level in enumerate(self.levels):
            if its_level != level:
                continue
            first = len(self.inputs)
            values[i] = load(i) if i < first else self._apply(i, self.steps[i - first], values)
        return values

    def constant(self, i: int) -> Value:
        """An input that is one number."""
        argument = getattr(self.f.arguments, f"x{i}")
        if self.inputs[i].kind == "number":
            value: Value = argument.splat()
            return value
        return self._mask_or(self._array(i).spread(), i)

    def even(self, place: Place, i: int) -> Value:
        """An input that is one number a row."""
        return self._mask_or(self.at(place, i).spread(), i)

    def at(self, place: Place, i: int) -> Array:
        """Where an input's row begins."""
        a = self.f.arguments
        outer, middle, inner = (getattr(a, f"{name}{i}") for name in ("outer", "middle", "inner"))
        return self._array(i).at(place.offset((outer, middle, inner)))

    def element(
        self,
        arrays: dict[int, Array],
        column: Value,
        mask: Value | None,
        length: Value,
        i: int,
    ) -> Value:
        """A vector of an input, whose row begins at its array."""
        if self.form.layouts[i] == "dense":
            return self._mask_or(arrays[i].load(column, mask), i)
        step = getattr(self.f.arguments, f"step{i}")
        within = None if mask is None else length
        return self._mask_or(self._gather(arrays[i], column, step, within), i)

    def _gather(self, array: Array, column: Value, step: Value, length: Value | None) -> Value:
        """Elements ``step`` apart; those beyond a length are the last one again."""
        f = self.f
        if array.element == BF16:
            halves = f.array(array.pointer, I16)
            return f.widen_bf16(self._gather(halves, column, step, length))
        result = f.zeros(array.element).ir
        for lane in range(f.lanes):
            index = column + lane
            if length is not None:
                index = f.minimum(index, length - 1)
            number = f.constant(lane, ELEMENTS["int32"])
            result = f.ir.insert_element(result, array.scalar(index * step).ir, number.ir)
        return Value(f, result)

    def _array(self, i: int) -> Array:
        return self.f.array(getattr(self.f.arguments, f"x{i}"), ELEMENTS[self.inputs[i].dtype])

    def _mask_or(self, value: Value, i: int) -> Value:
        return value.differs(0) if self.inputs[i].dtype == "bool" else value

    def _apply(self, i: int, step: Step, values: dict[int, Value]) -> Value:
        operands = [
            self._operand(x, position, step, values) for position, x in enumerate(step.operands)
        ]
        result = FUNCTIONS[step.function].emit(*operands)
        if step.function == "cast" or step.dtype not in ("bool", step.compute):
            result = _converted(result, _REGISTERS[step.dtype])
        if step.dtype == "bfloat16" and i != self.last:  # the store rounds the last one
            result = rounded(result)
        return result

    def _operand(self, x: Operand, position: int, step: Step, values: dict[int, Value]) -> Value:
        if step.function == "cast":
            return self._value(x, _REGISTERS[step.compute], values)
        if position < step.conditions:
            return _converted(self._value(x, I1, values), I1)
        value = _converted(self._value(x, _REGISTERS[step.compute], values),
                           _REGISTERS[step.compute])  # fmt: skip
        plain = step.compute == "bfloat16" and position not in step.exact
        return rounded(value) if plain and self._dtype(x) != "bfloat16" else value

    def _value(self, x: Operand, register: ir.Type, values: dict[int, Value]) -> Value:
        if not isinstance(x, Literal):
            return values[x]
        whole = register if isinstance(x.number, int) or register == F32 else F32
        return self.f.constant(x.number, vector(whole, self.f.lanes))

    def _dtype(self, x: Operand) -> str:
        if isinstance(x, Literal):
            return "float32"
        first = len(self.inputs)
        return self.inputs[x].dtype if x < first else self.steps[x - first].dtype


def _converted(value: Value, register: ir.Type) -> Value:
    """The same number in another register type, as torch converts it."""
    if value.element == register:
        return value
    f = value.builder
    if register == I1:
        return value.differs(0)
    if value.element == I1 and register == F32:
        return f.select(value, f.constant(1.0, vector(F32, value.lanes)), 0.0)
    return value.to(register)


def _kind(x: Input) -> str:
    if x.kind != "number":
        return "pointer"
    return "float" if x.dtype == "float32" else "int"
