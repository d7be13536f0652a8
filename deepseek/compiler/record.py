"""One run of a program, written down so that it can be repeated without Python's part in it.

While a graph runs under a :class:`Recorder`, kernels that are started, and operators of ATen that
are called, are noted with the addresses they work on; what they make is put into the arena. What
depends on no input is computed now and kept.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from deepseek.compiler.views import VIEWS
from deepseek.kernels import parallel
from deepseek.kernels.memory import made_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from deepseek.compiler.arena import Arena
    from deepseek.kernels.memory import Maker
    from deepseek.kernels.parallel import Launch

__all__ = [
    "CannotRecordError",
    "OperatorCall",
    "Recorder",
]

_aten = torch.ops.aten


class CannotRecordError(Exception):
    """A run does something that a repetition could not do in the same way."""


@dataclass(slots=True)
class OperatorCall:
    """A call of an operator of ATen into memory that is there.

    Attributes:
        name: Of the operator.
        run: Does it again.
        operands: The tensors that it reads and writes.
    """

    name: str
    run: Callable[[], object]
    operands: Sequence[Tensor]


@dataclass
class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what runs within a with statement.

    Kernels ask it for memory directly, and views are let through before anything else is looked at:
    torch takes 8 us to come to a mode, as long as a small kernel.

    Attributes:
        arena: Where results go.
        steps: What was done, in order.
        kept: Tensors that steps read and that are not in the arena.
    """

    arena: Arena
    steps: list[OperatorCall | Launch] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # entered again within itself for an operator that is made of others
        self._listening: list[AbstractContextManager[None]] = []
        self._births: list[tuple[int, int, int]] = []  # first byte, end, steps before

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not to be wrapped for Dynamo, which never traces a recording and takes 2 us a call."""
        return False

    def __enter__(self) -> Self:
        self._listening.append(_hearing(self.steps.append, self._make))
        self._listening[-1].__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *failure: Any) -> None:  # noqa: PYI036 - as torch has it
        super().__exit__(*failure)  # type: ignore[no-untyped-call]
        self._listening.pop().__exit__(*failure)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch for every operator."""
        named = kwargs or {}
        if func in VIEWS:
            return func(*args, **named)
        if _depends_on_content(func, args):
            raise CannotRecordError(f"{func} depends on what its input holds")
        # First, because what may give a view may as well copy: contiguous, reshape. In inference
        # mode they come here as they are.
        if _composed(func):
            with self:
                return func.decompose(*args, **named)
        if _gives_view(func):
            return _in_memory(func(*args, **named))
        if func in _EMPTIES:
            return self._like(func(*args, **named))
        with _hearing(None, None):
            return self._operator(func, args, named)

    def birth(self, low: int, high: int) -> int | None:
        """How many steps there were when the block that holds these addresses was taken last."""
        found = [steps for begin, end, steps in self._births if begin <= low and high <= end]
        return found[-1] if found else None

    def _make(
        self, size: Sequence[int], stride: Sequence[int] | None, dtype: torch.dtype
    ) -> Tensor:
        with torch._C._DisableTorchDispatch():  # noqa: SLF001 - the arena's own views need no look
            made = self.arena.empty(size, stride, dtype)
        low = made.data_ptr()
        self._births.append((low, low + made.nbytes, len(self.steps)))
        return made

    def _like(self, x: Tensor) -> Tensor:
        return self._make(x.shape, x.stride(), x.dtype)

    def _operator(self, func: Any, args: Any, named: dict[str, Any]) -> Any:
        given = [x for x in tree_flatten((args, named))[0] if isinstance(x, Tensor)]
        moving = any(self.arena.holds(x) for x in given)
        if func._schema.is_mutable:  # noqa: SLF001 - torch has no other way
            if not all(self.arena.holds(x) for x in _written(func, args, named)):
                raise CannotRecordError(f"{func} changes a tensor that is not the program's own")
            self._note(func, args, named)
            return func(*args, **named)
        made = func(*args, **named)
        if not moving and torch.Tag.nondeterministic_seeded not in func.tags:
            self.kept.append(made)  # kernels may read it by its address
            return made
        return self._placed(func, args, named, made)

    def _placed(self, func: Any, args: Any, named: dict[str, Any], made: Any) -> Any:
        """The results, moved into the arena; and the step that makes them there."""
        placed = tree_map_only(Tensor, self._moved, made)
        into = func_out(func)
        if into is not None and isinstance(made, Tensor) and made.numel():
            self._note(into, args, {**named, "out": placed})
            return placed
        args, named = self._held((args, named))
        targets = [self._held(x) for x in tree_flatten(placed)[0] if isinstance(x, Tensor)]

        def run() -> None:
            results = tree_flatten(func(*args, **named))[0]
            tensors = [x for x in results if isinstance(x, Tensor)]
            for target, result in zip(targets, tensors, strict=True):
                target.copy_(result)

        given = [x for x in tree_flatten((args, named))[0] if isinstance(x, Tensor)]
        self.steps.append(OperatorCall(str(func), run, (*given, *targets)))
        return placed

    def _moved(self, made: Tensor) -> Tensor:
        if not made.numel():
            return made
        return self._like(made).copy_(made)

    def _note(self, func: Any, args: Any, named: dict[str, Any]) -> None:
        held, held_named = self._held((args, named))
        operands = [x for x in tree_flatten((held, held_named))[0] if isinstance(x, Tensor)]
        self.steps.append(OperatorCall(str(func), lambda: func(*held, **held_named), operands))

    def _held(self, tree: Any) -> Any:
        """Arguments whose tensors in the arena keep no block there."""
        return tree_map_only(
            Tensor, lambda x: self.arena.alias(x) if self.arena.holds(x) else x, tree
        )


def _in_memory(view: Any) -> Any:
    """A view, unless it differs from what lies in memory by a mark on the tensor."""
    for x in tree_flatten(view)[0]:
        if isinstance(x, Tensor) and (x.is_conj() or x.is_neg()):
            raise CannotRecordError("a conjugation is not in memory")
    return view


@contextmanager
def _hearing(listener: Callable[[Launch], None] | None, maker: Maker | None) -> Iterator[None]:
    """Tell a listener of launches of this thread, and let a maker give its kernels memory."""
    with parallel.listening(listener), made_by(maker):
        yield


_EMPTIES = frozenset(
    (
        _aten.empty.memory_format,
        _aten.empty_strided.default,
        _aten.empty_like.default,
        _aten.new_empty.default,
        _aten.new_empty_strided.default,
    )
)
_DECIDES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


def _depends_on_content(func: Any, args: Any) -> bool:
    """Whether the shape, or what Python does next, follows from the numbers in a tensor."""
    if func is _aten.index.Tensor:
        return any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1])
    return bool(_DECIDES.intersection(func.tags))


@cache
def _gives_view(func: Any) -> bool:
    returns = func._schema.returns  # noqa: SLF001
    info = [result.alias_info for result in returns]
    return bool(info) and all(alias is not None and not alias.is_write for alias in info)


@cache
def _composed(func: Any) -> bool:
    """Whether an operator is nothing but others; those are recorded."""
    return bool(func.has_kernel_for_dispatch_key(torch.DispatchKey.CompositeImplicitAutograd))


def _written(func: Any, args: Any, named: dict[str, Any]) -> list[Tensor]:
    written = []
    for place, parameter in enumerate(func._schema.arguments):  # noqa: SLF001
        if parameter.alias_info is not None and parameter.alias_info.is_write:
            value = args[place] if place < len(args) else named.get(parameter.name)
            written += [x for x in tree_flatten(value)[0] if isinstance(x, Tensor)]
    return written


@cache
def func_out(func: Any) -> Any:
    """The overload that writes one result into a given tensor, or None."""
    names = [parameter.name for parameter in func._schema.arguments]  # noqa: SLF001
    packet = func.overloadpacket
    for overload in packet.overloads():
        candidate = getattr(packet, overload)
        parameters = candidate._schema.arguments  # noqa: SLF001
        outs = [parameter.name for parameter in parameters if parameter.is_out]
        others = [parameter.name for parameter in parameters if not parameter.is_out]
        if outs == ["out"] and others == names and _same_kinds(func, candidate):
            return candidate
    return None


def _same_kinds(func: Any, other: Any) -> bool:
    pairs = zip(func._schema.arguments, other._schema.arguments, strict=False)  # noqa: SLF001
    return all(str(a.type) == str(b.type) for a, b in pairs)
