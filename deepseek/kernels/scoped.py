"""A value that holds for a while."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["scoped"]


@contextmanager
def scoped(holder: object, name: str, value: object) -> Iterator[None]:
    """Give an attribute a value within a with statement, and then what it had; None if nothing."""
    before = getattr(holder, name, None)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)
