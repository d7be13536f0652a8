"""What the methods can be told."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from deepseek.errors import InputError

__all__ = ["MethodOptions"]

_BITS, _GROUPS = (8, 4), (32, 64, 128)
_USED_BY: Mapping[str, Collection[str]] = {
    "bits": ("weight_only",),
    "group_size": ("weight_only",),
    "rounding": ("weight_only",),
    "observer": ("static", "smooth"),
    "activations": ("smooth",),
    "smoothing": ("smooth",),
}


@dataclass(kw_only=True, slots=True, frozen=True)
class MethodOptions:
    """Options of the methods; each counts for those that its help names.

    Raises:
        InputError: A number is none of those there are.
    """

    bits: Annotated[int, "weight_only: bits of a weight, 8 or 4."] = 8
    group_size: Annotated[
        int, "weight_only: weights along a row that share a scale, 32, 64 or 128."
    ] = 64
    rounding: Annotated[
        Literal["nearest", "gptq", "awq"],
        "weight_only: nearest rounds each weight by itself. gptq makes up for the error of a "
        "weight in those not yet rounded, the most active first. awq scales weights by the "
        "activations they meet.",
    ] = "nearest"
    observer: Annotated[
        Literal["minmax", "percentile", "entropy", "mse"],
        "static, smooth: how the range of activations is chosen from their histogram.",
    ] = "minmax"
    activations: Annotated[
        Literal["dynamic", "static"], "smooth: what rounds the activations afterwards."
    ] = "dynamic"
    smoothing: Annotated[
        float, "smooth: share of the difficulty that moves from activations to weights, 0 to 1."
    ] = 0.5
    embeddings: Annotated[bool, "Quantize embeddings too, to INT8 with a scale per row."] = False

    def refuse_unused(self, method: str) -> None:
        """Say that an option does nothing here; ``auto`` tries methods that use all of them.

        Raises:
            InputError: One that the method has no use for is not as it is unless given.
        """
        defaults = {field.name: field.default for field in fields(MethodOptions)}
        for name, methods in _USED_BY.items():
            if method not in ("auto", *methods) and getattr(self, name) != defaults[name]:
                raise InputError(
                    f"expected --{name} with --method {' or '.join(methods)}, got it with {method}"
                )

    def __post_init__(self) -> None:
        for name, allowed in (("bits", _BITS), ("group_size", _GROUPS)):
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f"expected --{name} of {_some(allowed)}, got {value}")
        if not 0 <= self.smoothing <= 1:
            raise InputError(f"expected --smoothing from 0 to 1, got {self.smoothing:g}")


def _some(allowed: tuple[int, ...]) -> str:
    return f"{', '.join(map(str, allowed[:-1]))} or {allowed[-1]}"
