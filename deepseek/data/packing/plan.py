"""What becomes of the columns of a source: which fields a record has, and where each comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deepseek.data.columns import find_columns, usual_label
from deepseek.data.config import PackConfig
from deepseek.data.packed.field import DTYPES, Field, check_fields
from deepseek.data.packing.item import Item, Source
from deepseek.data.packing.labels import number_of, plan_label, whole_number
from deepseek.data.packing.pixels import is_image, pixels_of
from deepseek.data.packing.sequences import BOUNDARIES
from deepseek.data.packing.tokenizers import Tokenizer
from deepseek.errors import InputError

__all__ = ["TOKENS", "Column", "Plan", "plan_columns"]

TOKENS = "tokens"
_LOOKED_AT = 100  # rows that are looked at to find the columns

Kind = Literal["text", "label", "numbers", "image"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the source and the field it becomes."""

    name: str
    kind: Kind
    field: Field


@dataclass(frozen=True, slots=True)
class Plan:
    """What is packed.

    Attributes:
        columns: The columns that are read.
        fields: The fields of a record.
        classes: The names of the labels in the order of their numbers; none if they are numbers.
    """

    columns: tuple[Column, ...]
    fields: tuple[Field, ...]
    classes: tuple[str, ...] = ()


def plan_columns(source: Source, config: PackConfig, tokenizer: Tokenizer) -> Plan:
    """Look at the first rows of a source and decide.

    Raises:
        InputError: There are no rows, a named column is missing, or nothing can be packed.
    """
    first = list(islice(source.items(), _LOOKED_AT))
    if not first:
        raise InputError(f"expected rows to pack in {source.name}, found none")
    names = list(first[0].values)
    for name in (*config.columns, config.text_column, config.label_column):
        if name is not None and name not in names:
            raise InputError(
                f"{source.name}: expected the column {name!r}, found "
                f"{', '.join(map(repr, names[:12]))}"
            )
    label = config.label_column or usual_label(names)
    text = config.text_column or _text_column(source, first, label)
    if config.pack_length is not None:
        return _sequences(source, text, config, tokenizer)
    columns = [] if text is None else [Column(text, "text", _tokens(config, tokenizer, ()))]
    for name in config.columns or ([] if text else [name for name in names if name != label]):
        column = _column(name, first, config, needed=name in config.columns)
        columns += [] if column is None else [column]
    if not columns:
        raise InputError(
            f"{source.name}: expected a column of text, numbers or images, found "
            f"{', '.join(map(repr, names[:12]))}",
            hint="--text_column or --columns names what to pack",
        )
    classes: tuple[str, ...] = ()
    if label is not None and label not in config.columns:
        field, classes = plan_label(source, label, first, config.classes)
        columns.append(Column(label, "label", field))
    return Plan(tuple(columns), check_fields(column.field for column in columns), classes)


def _sequences(source: Source, text: str | None, config: PackConfig, tokenizer: Tokenizer) -> Plan:
    if text is None:
        raise InputError(
            f"{source.name}: expected a column of text for --pack_length, found none",
            hint="--text_column names it",
        )
    assert config.pack_length is not None
    tokens = _tokens(config, tokenizer, (config.pack_length,))
    return Plan((Column(text, "text", tokens),), (tokens, BOUNDARIES))


def _text_column(source: Source, first: Sequence[Item], label: str | None) -> str | None:
    rows = [item.values for item in first]
    holds_words = any(
        isinstance(value, str) and number_of(value) is None
        for row in rows
        for name, value in row.items()
        if name != label
    )
    if not holds_words:
        return None
    return find_columns(Path(source.name), rows, label_column=label).text


def _tokens(config: PackConfig, tokenizer: Tokenizer, shape: tuple[int, ...]) -> Field:
    fitting = next(
        name
        for name in ("uint8", "uint16", "int32", "int64")
        if tokenizer.vocabulary <= np.iinfo(DTYPES[name].numpy).max + 1
    )
    dtype = fitting if config.dtype == "auto" else config.dtype
    if tokenizer.vocabulary > np.iinfo(DTYPES[dtype].numpy).max + 1:
        raise InputError(
            f"expected a type for tokens that holds {tokenizer.vocabulary}, got --dtype {dtype}",
            hint=f"--dtype {fitting} is the smallest that does",
        )
    return Field(TOKENS, dtype, shape, ragged=not shape)


def _column(name: str, first: Sequence[Item], config: PackConfig, *, needed: bool) -> Column | None:
    values = [item.values.get(name) for item in first]
    value = next((value for value in values if value is not None), None)
    if is_image(value):
        size = config.image_size
        channels = 1 if config.image_mode == "gray" else 3
        shape = (channels, size, size) if size else pixels_of(value, config.image_mode, None).shape
        return Column(name, "image", Field(name, "uint8", shape))
    field = _numbers(name, [value for value in values if value is not None])
    if field is None and needed:
        raise InputError(f"expected numbers or images in column {name!r}, found {value!r:.60}")
    return None if field is None else Column(name, "numbers", field)


def _numbers(name: str, values: Sequence[Any]) -> Field | None:
    """The field of numbers, lists or arrays; None where the values are none of these."""
    if not values:
        return None
    if isinstance(values[0], np.ndarray | np.generic):
        return Field(name, values[0].dtype.name, values[0].shape)
    if isinstance(values[0], list):
        longest = np.array(max(values, key=len))
        dtype = _dtype(longest.dtype.kind)
        return None if dtype is None else Field(name, dtype, longest.shape[1:], ragged=True)
    if all(isinstance(value, bool) for value in values):
        return Field(name, "bool")
    if all(whole_number(value) is not None for value in values):
        return Field(name, "int64")
    if all(number_of(value) is not None for value in values):
        return Field(name, "float32")
    return None


def _dtype(kind: str) -> str | None:
    return {"i": "int64", "u": "int64", "f": "float32", "b": "bool"}.get(kind)
