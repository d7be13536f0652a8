"""Arrays of .npy and .npz files as inputs of a model, by their names."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.data.columns import usual_label
from deepseek.data.packing.item import Item, Source
from deepseek.errors import InputError

__all__ = ["ArrayEncoder", "array_encoder"]


class ArrayEncoder:
    """From rows of arrays to inputs; see ``array_encoder``."""

    def __init__(self, columns: Mapping[str, str], label: str | None, classes: int) -> None:
        self._columns = columns
        self._label = label
        self._classes = classes

    @property
    def labelled(self) -> bool:
        """Whether there are labels that count."""
        return self._label is not None

    def __call__(self, items: Sequence[Item]) -> tuple[dict[str, Tensor], Tensor | None]:
        """The inputs of some items, and their labels."""
        inputs = {name: _stack(items, column) for name, column in self._columns.items()}
        if self._label is None:
            return inputs, None
        for item in items:
            label = float(item.values[self._label])
            if self._classes > 1 and not (label.is_integer() and 0 <= label < self._classes):
                raise InputError(
                    f"{item.origin}: expected a class from 0 to {self._classes - 1} in "
                    f"{self._label!r}, found {label:g}"
                )
        return inputs, _stack(items, self._label)


def _stack(items: Sequence[Item], column: str) -> Tensor:
    tensor = torch.from_numpy(np.stack([item.values[column] for item in items]))
    return tensor.float() if tensor.dtype.is_floating_point else tensor.long()


def array_encoder(
    model: nn.Module, source: Source, *, label_column: str | None, labelled: bool
) -> ArrayEncoder:
    """Which arrays are which inputs: those of the names of the model's arguments.

    A single array of another name is the main input. The labels are in ``label_column``, or in an
    array with one of the usual names.

    Args:
        model: Its signature and configuration are looked at.
        source: Of rows of arrays.
        label_column: The array of the labels, where its name does not tell.
        labelled: Whether the model tells something that labels can be held against.

    Raises:
        InputError: A named array is missing, or none is an input.
    """
    names = list(next(iter(source.items())).values)
    if label_column is not None and label_column not in names:
        raise InputError(
            f"{source.name}: expected the array {label_column!r}, found {', '.join(names)}",
            hint="--label_column names another",
        )
    label = label_column or usual_label(names)
    others = [name for name in names if name != label]
    taken = inspect.signature(model.forward).parameters
    columns = {name: name for name in others if name in taken}
    main: Any = getattr(model, "main_input_name", next(iter(taken), None))
    if not columns and len(others) == 1 and isinstance(main, str):
        columns = {main: others[0]}
    if not columns:
        raise InputError(
            f"{source.name}: expected arrays named like the inputs of {type(model).__name__} "
            f"({', '.join(list(taken)[:6])}), found {', '.join(names) or 'none'}"
        )
    classes = int(getattr(getattr(model, "config", None), "num_labels", 0) or 0)
    return ArrayEncoder(columns, label if labelled else None, classes)
