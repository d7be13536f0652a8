"""Damaged input must end in one line: parsers of others raise anything when they meet it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepseek.errors import InputError

__all__ = ["blamed_on", "reason"]


@contextmanager
def blamed_on(path: Path, what: str) -> Iterator[None]:
    """Whatever a parser raises inside is the file's fault.

    Args:
        path: The file.
        what: What it was taken for: ``a zip archive``.

    Raises:
        InputError: Anything was raised inside.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be read as {what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """What an exception says, in one line of bearable length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join((lines[-1] if lines else type(error).__name__).split())
    return text if len(text) <= 200 else f"{text[:197]}..."
