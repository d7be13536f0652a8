"""JSON documents that an earlier run of the command wrote."""

import json
from pathlib import Path
from typing import Any

from deepseek.errors import InputError

__all__ = ["read_document"]


def read_document(path: Path, schema: str, kind: str, *, missing: str, hint: str) -> dict[str, Any]:
    """A document.

    Args:
        path: Where it lies.
        schema: What its key ``schema`` must say.
        kind: What it is to people.
        missing: What to call it where there is none.
        hint: What to do then.

    Raises:
        InputError: There is none, or it holds anything else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        found = "none" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"expected {missing} at {path}, found {found}", hint=hint) from error
    except ValueError as error:
        raise InputError(f"{path}: expected {kind}, found {error}") from error
    if not isinstance(document, dict) or document.get("schema") != schema:
        raise InputError(f"{path}: expected {kind}, found other content")
    return document
