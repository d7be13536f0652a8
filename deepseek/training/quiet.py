"""Keep transformers from talking over us."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging

__all__ = ["quiet_transformers"]

_logging: Any = logging  # its functions carry no types


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Inside, transformers draws no bars and writes errors only.

    What it would warn of (new heads, token numbers, padding) is decided here on purpose.
    """
    level, bars = _logging.get_verbosity(), _logging.is_progress_bar_enabled()
    _logging.set_verbosity_error()
    _logging.disable_progress_bar()
    try:
        yield
    finally:
        _logging.set_verbosity(level)
        if bars:
            _logging.enable_progress_bar()
