"""Which column of a file holds the text, and which the label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.errors import InputError

__all__ = ["Columns", "find_columns", "usual_label"]

_TEXT_NAMES = ("text", "sentence", "review", "content", "comment", "body", "document", "utterance",
               "tweet", "question", "query", "passage", "title")  # fmt: skip
_LABEL_NAMES = ("label", "labels", "class", "category", "sentiment", "target")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that matter; ``label`` is None where a file has no labels."""

    text: str
    label: str | None


def find_columns(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    text_column: str | None = None,
    label_column: str | None = None,
) -> Columns:
    """Find the text and the label among the columns of a file.

    Args:
        path: The file, for messages.
        rows: Its first rows.
        text_column: The name of the text column; by default one of the usual names, or else the
            only column that holds words.
        label_column: The name of the label column; by default one of the usual names, if any.

    Raises:
        InputError: A named column is missing, or no text column can be told.
    """
    names = list(rows[0])
    for wanted, flag in ((text_column, "--text_column"), (label_column, "--label_column")):
        if wanted is not None and wanted not in names:
            raise InputError(
                f"{path}: expected the column {wanted!r}, found {_listed(names)}",
                hint=f"{flag} names another",
            )
    text = text_column or _usual(names, _TEXT_NAMES)
    label = label_column or usual_label([name for name in names if name != text])
    return Columns(text or _only_words(path, rows, without=label), label)


def usual_label(names: Sequence[str]) -> str | None:
    """The column with one of the usual names of labels, if any."""
    return _usual(names, _LABEL_NAMES)


def _usual(names: Sequence[str], usual: Sequence[str]) -> str | None:
    by_lower_case = {name.strip().lower(): name for name in reversed(names)}
    return next((by_lower_case[name] for name in usual if name in by_lower_case), None)


def _only_words(path: Path, rows: Sequence[Mapping[str, Any]], *, without: str | None) -> str:
    names = [name for name in rows[0] if name != without and _holds_words(rows, name)]
    if len(names) == 1:
        return names[0]
    raise InputError(
        f"{path}: expected a text column ({', '.join(_TEXT_NAMES[:4])}, …), "
        f"found {_listed(list(rows[0]))}",
        hint="--text_column names it",
    )


def _holds_words(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(isinstance(row.get(name), str) and not _is_number(row[name]) for row in rows)


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    return "the columns " + ", ".join(repr(name) for name in names[:12])
