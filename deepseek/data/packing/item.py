"""What is packed before it is packed: one row of a source, and where it came from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepseek.errors import InputError

__all__ = ["Item", "Source", "bad_item", "name_of"]


@dataclass(frozen=True, slots=True)
class Item:
    """One row.

    Attributes:
        values: What stands in each column: text, numbers, lists, arrays, images.
        origin: Where it stands, as ``path:line``.
    """

    values: Mapping[str, Any]
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Rows that can be walked as often as needed.

    Attributes:
        name: What it is, in a user's words.
        items: Begins a walk.
        files: What it is read from; sizes and times tell whether it is still the same.
        count: How many rows there are, where that is known beforehand.
        classes: Names of labels in the order of their numbers, where the source has them.
    """

    name: str
    items: Callable[[], Iterator[Item]]
    files: tuple[Path, ...] = ()
    count: int | None = None
    classes: tuple[str, ...] = field(default=())


def name_of(files: Sequence[Path]) -> str:
    """Some files in a user's words."""
    return f"{files[0]} and {len(files) - 1} more" if len(files) > 1 else str(files[0])


def bad_item(item: Item, message: str, *, hint: str | None = None) -> InputError:
    """The error for a row that cannot be used: where it is, and why."""
    return InputError(f"{item.origin}: {message}", hint=hint)
