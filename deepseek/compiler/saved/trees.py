"""How arguments and outputs are put together, as plain JSON values.

A tensor is written as its number. What a model returns as an object of a class of its own is read
back as a :class:`Result`, which has the same fields in the same order.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from deepseek.errors import InputError

__all__ = ["Result", "read_tree", "write_tree"]


class Result(OrderedDict[str, Any]):
    """Outputs by name, also as attributes, and by their place."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getitem__(name)
        except KeyError as error:
            raise AttributeError(name) from error

    def __getitem__(self, key: Any) -> Any:
        return (
            list(self.values())[key] if isinstance(key, (int, slice)) else super().__getitem__(key)
        )


def write_tree(tree: Any, leaves: Sequence[Any]) -> Any:
    """A tree of tensors and constants; each tensor as its number among the tensors of ``leaves``.

    Raises:
        InputError: Something in it is neither, nor a tuple, list or mapping of such.
    """
    numbers: dict[int, list[int]] = defaultdict(list)  # a tensor may be given more than once
    for number, leaf in enumerate(_tensors(leaves)):
        numbers[id(leaf)].append(number)

    def write(value: Any) -> Any:
        if isinstance(value, Tensor):
            return {"tensor": numbers[id(value)].pop(0)}
        if value is None or isinstance(value, (bool, int, float, str)):
            return {"constant": value}
        if isinstance(value, Mapping):
            return {"fields": {str(key): write(each) for key, each in value.items()}}
        if isinstance(value, (tuple, list)):
            return {type(value).__name__: [write(each) for each in value]}
        raise InputError(
            f"expected tensors, numbers, text, tuples, lists and mappings of them, "
            f"got {type(value).__name__}"
        )

    return write(tree)


def _tensors(leaves: Sequence[Any]) -> list[Tensor]:
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def read_tree(written: Any, tensors: Sequence[Any]) -> Any:
    """The tree with other tensors."""
    (kind, content), *_ = written.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "constant":
        return content
    if kind == "fields":
        return Result((key, read_tree(each, tensors)) for key, each in content.items())
    values = [read_tree(each, tensors) for each in content]
    return values if kind == "list" else tuple(values)
