"""From the labels a source has to numbers: as they are, or the places of names in a list."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deepseek.data.packed.field import Field
from deepseek.data.packing.item import Item, Source, bad_item
from deepseek.errors import InputError

__all__ = ["LABEL", "label_number", "number_of", "plan_label", "whole_number"]

LABEL = "label"
_MOST_CLASSES = 10_000
_UNLABELLED = -1  # as datasets writes it


def plan_label(
    source: Source, column: str, first: Sequence[Item], classes: tuple[str, ...]
) -> tuple[Field, tuple[str, ...]]:
    """The field of the labels, and the names of their numbers where they have names.

    Names that nobody listed are looked for in the whole source, and sorted: so the same classes
    have the same numbers in another file.

    Args:
        source: Where the labels are.
        column: Their column.
        first: Its first rows.
        classes: Names that are known beforehand, in order.

    Raises:
        InputError: A row has no label, or there are too many names to be classes.
    """
    classes = classes or source.classes
    labels = [_label(item, column) for item in first]
    if classes or all(whole_number(label) is not None for label in labels):
        return Field(LABEL, "int64"), classes
    if all(number_of(label) is not None for label in labels):
        return Field(LABEL, "float32"), ()
    return Field(LABEL, "int64"), _names(source.items(), column)


def label_number(
    item: Item, column: str, field: Field, numbers: dict[str, int]
) -> np.int64 | np.float32:
    """The label of a row as a number of the field.

    Args:
        item: The row.
        column: The column of its label.
        field: What ``plan_label`` made.
        numbers: The number of each name.

    Raises:
        InputError: There is no label, or it is no number and no name that is known.
    """
    label = _label(item, column)
    if field.dtype == "float32":
        number = number_of(label)
        if number is None:
            raise bad_item(item, f"expected a number in column {column!r}, found {label!r:.60}")
        return np.float32(number)
    place = numbers.get(str(label).strip())
    whole = whole_number(label) if place is None else place
    if whole is None or (numbers and not _UNLABELLED <= whole < len(numbers)):
        known = f"one of {', '.join(list(numbers)[:8])}" if numbers else "a whole number"
        raise bad_item(
            item,
            f"expected {known} in column {column!r}, found {label!r:.60}",
            hint="--classes lists the names of all labels",
        )
    return np.int64(whole)


def whole_number(value: Any) -> int | None:
    """A whole number, also as text or as a float without fraction."""
    number = number_of(value)
    return int(number) if number is not None and number.is_integer() else None


def number_of(value: Any) -> float | None:
    """A number, also as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _label(item: Item, column: str) -> Any:
    label = item.values.get(column)
    if label is None or label == "":
        raise bad_item(item, f"expected a label in column {column!r}, found none")
    return label


def _names(items: Iterable[Item], column: str) -> tuple[str, ...]:
    names: set[str] = set()
    for item in items:
        names.add(str(_label(item, column)).strip())
        if len(names) > _MOST_CLASSES:
            raise InputError(
                f"expected at most {_MOST_CLASSES} classes in column {column!r}, found more",
                hint="--label_column names another column",
            )
    return tuple(sorted(names))
