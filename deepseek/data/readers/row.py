"""A row of a file, and how to say where one is bad."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.errors import InputError

__all__ = ["Row", "bad_row"]


@dataclass(frozen=True, slots=True)
class Row:
    """The values of one row by column.

    Attributes:
        line: The line of the file it starts on, or the number of the row; from 1.
        values: What stands in each column.
    """

    line: int
    values: Mapping[str, Any]


def bad_row(path: Path, line: int, message: str, *, hint: str | None = None) -> InputError:
    """The error for a row that cannot be used, where it is, and why."""
    return InputError(f"{path}:{line}: {message}", hint=hint)
