"""From the label a file has to the class a model knows."""

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

from deepseek.data.sample import Record
from deepseek.errors import InputError

__all__ = ["classes_of", "scores_of"]


def classes_of(records: Sequence[Record], label2id: Mapping[str, int], classes: int) -> list[int]:
    """The class of every record.

    Args:
        records: Records with labels: class numbers, or names in any case.
        label2id: The names that the model's configuration gives to its classes.
        classes: How many classes the model has.

    Raises:
        InputError: A record has no label, or one that is no class of the model.
    """
    names = {str(name).casefold(): number for name, number in label2id.items()}
    return [_class_of(record, names, classes) for record in records]


def scores_of(records: Sequence[Record]) -> list[float]:
    """The number that every record is labelled with.

    Raises:
        InputError: A record has no label, or one that is no finite number.
    """
    return [_score_of(record) for record in records]


def _score_of(record: Record) -> float:
    try:
        score = float(record.label)
    except (TypeError, ValueError):
        score = nan
    if not isfinite(score):
        raise InputError(
            f"{record.origin}: expected a number to hold the model's against, "
            f"found {record.label!r:.60}",
            hint="--label_column names the column",
        )
    return score


def _class_of(record: Record, names: Mapping[str, int], classes: int) -> int:
    if record.label is None:
        raise InputError(
            f"{record.origin}: expected a label as in the other files, found none",
            hint="keep files with and without labels in different folders",
        )
    number = names.get(str(record.label).strip().casefold(), _number(record.label))
    if number is None or not 0 <= number < classes:
        known = ", ".join(list(names)[:8]) + (", …" if len(names) > 8 else "")
        raise InputError(
            f"{record.origin}: expected a class from 0 to {classes - 1} or its name ({known}), "
            f"found {record.label!r:.60}",
            hint="label2id in config.json names the classes; --label_column names the column",
        )
    return number


def _number(label: Any) -> int | None:
    """A class number written as an integer, as text, or as a float without fraction."""
    try:
        number = float(label)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None
