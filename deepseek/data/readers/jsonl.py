"""``.jsonl``: a JSON object a line."""

import json
from collections.abc import Iterator
from pathlib import Path

from deepseek.data.readers.lines import lines_of
from deepseek.data.readers.row import Row, bad_row

__all__ = ["read_jsonl"]


def read_jsonl(path: Path) -> Iterator[Row]:
    """The objects of a file; blank lines are no rows.

    Raises:
        InputError: A line is no JSON object.
    """
    for number, line in lines_of(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise bad_row(path, number, f"expected a JSON object, found {reason}") from error
        if not isinstance(value, dict):
            raise bad_row(path, number, f"expected a JSON object, found a {type(value).__name__}")
        yield Row(number, value)
