"""From rows to records, in this process or in workers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.data.packed.field import DTYPES
from deepseek.data.packed.values import rows_of
from deepseek.data.packing.item import Item, bad_item
from deepseek.data.packing.labels import label_number
from deepseek.data.packing.pixels import Mode, pixels_of
from deepseek.data.packing.plan import Column, Plan
from deepseek.data.packing.tokenizers import load_tokenizer
from deepseek.errors import InputError

__all__ = ["Encoder"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """Makes records of rows; travels to workers as what it was told, not what it loaded.

    Attributes:
        plan: Which column becomes what.
        tokenizer: What ``load_tokenizer`` is told.
        sequences: Whether texts are to be joined: the end token is put behind each.
        image_mode: Which channels images get.
        image_size: The size they get.
    """

    plan: Plan
    tokenizer: dict[str, Any]
    sequences: bool
    image_mode: Mode
    image_size: int | None

    def __call__(self, items: Sequence[Item]) -> list[dict[str, Any] | None]:
        """The records of rows; None for a row whose text is empty.

        Raises:
            InputError: A value is missing, or cannot become what the plan says.
        """
        records: list[dict[str, Any]] = [{} for _ in items]
        for column in self.plan.columns:
            for record, value in zip(records, self._values(column, items), strict=True):
                record[column.field.name] = value
        return [None if any(v is None for v in record.values()) else record for record in records]

    def _values(self, column: Column, items: Sequence[Item]) -> Sequence[Any]:
        match column.kind:
            case "text":
                return self._texts(column, items)
            case "label":
                numbers = {name: number for number, name in enumerate(self.plan.classes)}
                return [label_number(item, column.name, column.field, numbers) for item in items]
            case "image":
                return [self._image(column, item) for item in items]
            case "numbers":
                return [_number(column, item) for item in items]

    def _texts(self, column: Column, items: Sequence[Item]) -> Sequence[Any]:
        tokenizer = load_tokenizer(**self.tokenizer)
        texts = [_text(column, item) for item in items]
        tokens = iter(tokenizer.encode([text for text in texts if text]))
        end = [tokenizer.end] if self.sequences and tokenizer.end is not None else []
        return [np.append(next(tokens), end).astype(np.int64) if text else None for text in texts]

    def _image(self, column: Column, item: Item) -> Any:
        try:
            pixels = pixels_of(item.values.get(column.name), self.image_mode, self.image_size)
        except InputError as error:
            raise bad_item(item, error.message, hint=error.hint) from error
        if pixels.shape != column.field.shape:
            raise bad_item(
                item,
                f"expected an image of {column.field.shape}, found {pixels.shape} "
                "(channels, height, width)",
                hint="--image_size makes all images of one size",
            )
        return pixels


def _text(column: Column, item: Item) -> str:
    text = item.values.get(column.name)
    if not isinstance(text, str | None):
        raise bad_item(item, f"expected text in column {column.name!r}, found {text!r:.60}")
    return text if text and text.strip() else ""


def _number(column: Column, item: Item) -> Any:
    value = item.values.get(column.name)
    if value is None or (isinstance(value, str) and not value):
        raise bad_item(item, f"expected numbers in column {column.name!r}, found none")
    try:
        if isinstance(value, str):
            value = np.array(value, DTYPES[column.field.dtype].numpy)
        return rows_of(column.field, value)
    except InputError as error:
        raise bad_item(item, error.message) from error
    except (ValueError, OverflowError) as error:
        raise bad_item(
            item, f"expected a number in column {column.name!r}, found {value!r:.60}"
        ) from error
