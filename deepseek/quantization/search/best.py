"""Of what several methods came to, the best."""

from collections.abc import Sequence
from typing import TypeVar

from deepseek.quantization.search.finding import Finding

__all__ = ["best_of"]

_Found = TypeVar("_Found", bound=Finding)


def best_of(attempts: Sequence[_Found], *, smallest: bool) -> _Found:
    """The fastest, or the smallest, that keeps within the budget; else the one that loses least."""
    if len(attempts) == 1:
        return attempts[0]
    within = [a for a in attempts if a.last is not None and a.last.within]
    if within:
        return min(within, key=lambda a: _size(a) if smallest else _seconds(a))
    return min(attempts, key=_drop)


def _size(tried: Finding) -> float:
    return tried.last.size if tried.last else float("inf")


def _seconds(tried: Finding) -> float:
    return tried.last.seconds if tried.last else float("inf")


def _drop(tried: Finding) -> float:
    return tried.last.drop if tried.last else float("inf")
