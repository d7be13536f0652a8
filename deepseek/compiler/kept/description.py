"""Objects as nested tuples of plain values, which are equal where the objects are alike."""

from __future__ import annotations

import functools
import types
from collections import OrderedDict
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CannotDescribeError", "Describer", "name_of"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_MADE_BY_CLASS = 1 << 9  # the flag of a type that Python code made, which has no hidden state
_LARGEST = 1 << 12  # elements of a tensor that is no parameter and no buffer

Description = Any  # tuples of plain values


class CannotDescribeError(Exception):
    """There may be more to an object than can be seen."""


def name_of(named: Any) -> tuple[str, str]:
    """Where a class or function is defined, if it can be found by that.

    Raises:
        CannotDescribeError: It was made inside a function, and may differ each time.
    """
    if "<" in named.__qualname__:
        raise CannotDescribeError(named.__qualname__)
    return named.__module__ or "", named.__qualname__


class Describer:
    """Describes the objects of one model.

    Args:
        modules: Names of the model's modules by identity; other modules cannot be described.
    """

    def __init__(self, modules: Mapping[int, str]) -> None:
        self._modules = modules
        self._known: dict[int, Description] = {}
        self._held: list[object] = []  # so that no identity is given twice
        self._above: list[int] = []  # identities of what the value at hand is part of

    def __call__(self, value: Any) -> Description:
        """The description of a value.

        Raises:
            CannotDescribeError: It has none.
        """
        if type(value) in _PLAIN:
            return (type(value).__name__, value)
        if id(value) in self._above:
            return ("above", len(self._above) - self._above.index(id(value)))
        if id(value) not in self._known:
            self._held.append(value)
            self._above.append(id(value))
            self._known[id(value)] = self._describe(value)
            self._above.pop()
        return self._known[id(value)]

    def _describe(self, value: Any) -> Description:
        for kinds, describe in _KINDS:
            if isinstance(value, kinds):
                return describe(self, value)
        return self._state(value)

    def all(self, values: Any) -> Description:
        """The descriptions of several values."""
        return tuple(self(value) for value in values)

    def items(self, mapping: Mapping[Any, Any]) -> Description:
        """The descriptions of keys and values, in their order."""
        return tuple((self(key), self(value)) for key, value in mapping.items())

    def module(self, module: nn.Module) -> Description:
        """The name of a module of the model."""
        if id(module) not in self._modules:
            raise CannotDescribeError("a module that is not among the model's")
        return ("module", self._modules[id(module)])

    def _state(self, value: Any) -> Description:
        """An object that is its attributes, and what it holds if it is a container."""
        class_ = type(value)
        content: Description = ()
        known: tuple[type, ...] = (object,)
        for container, describe in _CONTAINERS.items():
            if isinstance(value, container):
                content, known = describe(self, value), (object, *container.__mro__)
        hidden = [
            base
            for base in class_.__mro__
            if base not in known
            and (not base.__flags__ & _MADE_BY_CLASS or vars(base).get("__slots__"))
        ]
        if hidden:
            raise CannotDescribeError(f"{class_.__qualname__} has state that cannot be seen")
        state = content, self.items(getattr(value, "__dict__", {}))
        return name_of(class_), sha256(repr(state).encode()).hexdigest()


def _function(_describe: Describer, value: types.FunctionType) -> Description:
    if value.__closure__:
        raise CannotDescribeError(f"{value.__qualname__} holds variables of another function")
    return name_of(value)


def _tensor(_describe: Describer, value: Tensor) -> Description:
    if type(value) is not Tensor or value.numel() > _LARGEST or not value.is_cpu:
        raise CannotDescribeError("a tensor that is no parameter")
    content = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    shape = tuple(value.shape), value.stride()
    return ("tensor", str(value.dtype), shape, sha256(content).hexdigest())


def _sorted(describe: Describer, value: Any) -> Description:
    return tuple(sorted(describe.all(value), key=repr))


_CONTAINERS: dict[type, Callable[[Describer, Any], Description]] = {
    dict: Describer.items,
    OrderedDict: Describer.items,
    list: Describer.all,
    tuple: Describer.all,
    set: _sorted,
    frozenset: _sorted,
}
_KINDS: tuple[tuple[Any, Callable[[Describer, Any], Description]], ...] = (
    (_TORCH, lambda _, value: str(value)),
    (Enum, lambda _, value: (name_of(type(value)), value.name)),
    (type, lambda _, value: name_of(value)),
    (types.FunctionType, _function),
    (types.BuiltinFunctionType, lambda _, value: (value.__module__, value.__qualname__)),
    (types.MethodType, lambda describe, value: (describe(value.__self__), value.__name__)),
    (
        functools.partial,
        lambda describe, value: (
            describe(value.func), describe.all(value.args), describe.items(value.keywords),
        ),
    ),
    (Tensor, _tensor),
    (nn.Module, Describer.module),
)  # fmt: skip
