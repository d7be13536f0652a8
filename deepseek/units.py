"""Quantities as people write them: ``0.5%``, ``2GB``, ``10min``.

Every parser takes the text a user typed and returns the plain number the code works with; a
number passes through unchanged. Configuration fields name their parser in ``Annotated``.
"""

import re
from collections.abc import Mapping
from math import isfinite

from deepseek.errors import InputError

__all__ = ["format_bytes", "format_seconds", "parse_bytes", "parse_seconds", "parse_share"]

_BYTES = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*([a-z%]*)\s*", re.IGNORECASE)


def _parse(text: object, units: Mapping[str, float], example: str) -> float:
    match = _QUANTITY.fullmatch(str(text))
    unit = units.get(match[2].lower()) if match else None
    if match is None or unit is None or not isfinite(quantity := float(match[1]) * unit):
        raise InputError(f"expected a quantity such as {example}, got {str(text)!r}")
    return quantity


def parse_share(value: str | float) -> float:
    """A share of one: ``"0.5%"`` and ``0.005`` are the same.

    Raises:
        InputError: The text is no number, or the share lies outside [0, 1].
    """
    share = _parse(value, {"": 1.0, "%": 0.01}, "0.5% or 0.005")
    if not 0.0 <= share <= 1.0:
        raise InputError(f"expected a share between 0% and 100%, got {str(value)!r}")
    return share


def parse_bytes(value: str | int) -> int:
    """A number of bytes: ``"2GB"`` is 2 * 10**9, ``"2GiB"`` is 2 * 2**30.

    Raises:
        InputError: The text is no quantity of bytes.
    """
    return int(_parse(value, _BYTES, "2GB or 512MiB"))


def parse_seconds(value: str | float) -> float:
    """A duration in seconds: ``"10min"`` is 600.0.

    Raises:
        InputError: The text is no duration.
    """
    return _parse(value, _SECONDS, "90s or 10min")


def format_bytes(size: float) -> str:
    """Bytes for people, in decimal units: ``90.9 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def format_seconds(seconds: float) -> str:
    """A duration for people: ``3.2 ms``, ``12.5 s``, ``4 min 10 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
