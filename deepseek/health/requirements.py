"""Requirements as people write them: ``cuda>=12``, ``nccl>=2.8``, ``memory>=32GB``, ``avx512``.

A requirement belongs to a check of the same name and is met or missed by the value which that
check finds. What a bound compares depends on the kind of the check: versions part by part,
numbers as numbers.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Literal

from deepseek.errors import InputError
from deepseek.units import parse_bytes, parse_share

__all__ = ["Bound", "Kind", "Level", "Requirement", "Value", "Version", "did_you_mean",
           "parse_bounds", "parse_requirement", "parse_version", "show_version"]  # fmt: skip

Version = tuple[int, ...]
Value = Version | float | bool
Level = Literal["require", "advise"]


class Kind(Enum):
    """What a check finds, with an example of a requirement on it."""

    FEATURE = "avx512"
    VERSION = "cuda>=12"
    COUNT = "cores>=4"
    BYTES = "memory>=32GB"
    SHARE = "swap_buffer>=20%"


@dataclass(frozen=True, slots=True)
class Bound:
    """One comparison: an operator and what to compare with, also as it was written."""

    sign: str
    text: str
    value: Value

    def admits(self, found: Value) -> bool:
        """Whether ``found`` keeps to this bound."""
        if isinstance(found, tuple) and isinstance(self.value, tuple):
            return _SIGNS[self.sign](*_aligned(found, self.value, self.sign))
        return _SIGNS[self.sign](found, self.value)

    def __str__(self) -> str:
        return f"{self.sign}{self.text}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """What a check must find.

    Attributes:
        name: The check.
        level: Whether missing it is a failure or a warning; None waives it.
        bounds: All of them must hold; none for a feature, which must be there.
        origin: Who asks: ``profile cpu`` or ``--require``.
    """

    name: str
    level: Level | None
    bounds: tuple[Bound, ...] = ()
    origin: str = ""

    def met_by(self, found: Value) -> bool:
        """Whether the value that the check found is good enough."""
        if not self.bounds:
            return bool(found)
        return all(bound.admits(found) for bound in self.bounds)

    @property
    def spec(self) -> str:
        """The bounds as text, ``>=11,<12``; empty for a feature."""
        return ",".join(map(str, self.bounds))


_SIGNS: dict[str, Callable[..., bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_ANYTHING = "any"
_NAMED = re.compile(r"\s*([A-Za-z][\w-]*)\s*(.*)", re.DOTALL)
_BOUND = re.compile(r"\s*(>=|<=|==|!=|=|>|<)\s*([^\s<>=!]+)\s*")
_VERSION = re.compile(r"\d+(?:\.\d+)*")


def parse_version(text: str) -> Version:
    """The leading numbers of a version: ``2.13.0+cpu`` is (2, 13, 0).

    Raises:
        ValueError: The text does not begin with a number.
    """
    match = _VERSION.match(text.strip().removeprefix("v"))
    if match is None:
        raise ValueError(f"expected a version such as 2.13.0, got {text!r}")
    return tuple(int(part) for part in match[0].split("."))


def show_version(version: Version) -> str:
    """``(2, 13, 0)`` as ``2.13.0``."""
    return ".".join(map(str, version))


def did_you_mean(word: str, words: list[str]) -> str | None:
    """A hint for a misspelt word, where one of ``words`` is near."""
    close = get_close_matches(word, words, n=1)
    return f"did you mean {close[0]}?" if close else None


def parse_requirement(text: str, kinds: dict[str, Kind], origin: str) -> Requirement:
    """Read one requirement, such as ``cuda>=11,<12``, ``avx512`` or ``vnni=any``.

    Args:
        text: As typed.
        kinds: What each check finds, by the check's name.
        origin: Who asks, for the report.

    Raises:
        InputError: No such check, or a value that does not suit it.
    """
    match = _NAMED.fullmatch(text)
    name = match[1].replace("-", "_").lower() if match else text
    if match is None or name not in kinds:
        raise InputError(
            f"--require: expected the name of a check, got {name!r}",
            hint=did_you_mean(name, list(kinds)) or "deepseek doctor --list shows the checks",
        )
    rest = match[2].strip()
    if rest.lstrip("= ") == _ANYTHING:
        return Requirement(name=name, level=None, origin=origin)
    bounds = parse_bounds(name, rest, kinds[name])
    return Requirement(name=name, level="require", bounds=bounds, origin=origin)


def parse_bounds(name: str, text: str, kind: Kind) -> tuple[Bound, ...]:
    """Read what follows the name: ``>=11,<12``; nothing or ``=yes`` asks for a feature.

    Raises:
        InputError: The bounds do not suit the kind of the check.
    """
    if kind is Kind.FEATURE:
        if text.lstrip("= ") in ("", "yes"):
            return ()
        raise InputError(f"--require: {name} is there or not, expected {name} or {name}=any, "
                         f"got {name}{text}")  # fmt: skip
    if not text and kind is Kind.COUNT:
        return (Bound(">=", "1", 1),)
    if not text:
        raise InputError(
            f"--require: expected a bound such as {kind.value}, got {name!r} alone",
            hint=f"put it in quotes, '{name}>=…': the shell takes > for itself",
        )
    return tuple(_parse_bound(name, part, kind) for part in text.split(","))


def _parse_bound(name: str, text: str, kind: Kind) -> Bound:
    match = _BOUND.fullmatch(text)
    if match is None:
        raise InputError(
            f"--require: expected a bound such as {kind.value}, got {name + text!r}",
            hint=f"the comparisons are {' '.join(_SIGNS)}",
        )
    sign = "==" if match[1] == "=" else match[1]
    try:
        return Bound(sign, match[2], _READERS[kind](match[2]))
    except ValueError as error:
        message = getattr(error, "message", str(error))
        raise InputError(f"--require {name}: {message}") from error


def _whole_version(text: str) -> Version:
    version = text.removesuffix(".x").removesuffix(".*")
    if _VERSION.fullmatch(version) is None:
        raise ValueError(f"expected a version such as 12 or 11.8, got {text!r}")
    return parse_version(version)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"expected a whole number, got {text!r}")
    return int(text)


_READERS: dict[Kind, Callable[[str], Value]] = {
    Kind.VERSION: _whole_version,
    Kind.COUNT: _count,
    Kind.BYTES: parse_bytes,
    Kind.SHARE: parse_share,
}


def _aligned(found: Version, asked: Version, sign: str) -> tuple[Version, Version]:
    """Equality looks at the parts that were asked for (11.8 is 11); order pads with zeros."""
    if sign in ("==", "!="):
        found = found[: len(asked)]
    length = max(len(found), len(asked))
    return _padded(found, length), _padded(asked, length)


def _padded(version: Version, length: int) -> Version:
    return version + (0,) * (length - len(version))
