"""What is written, and which options each format and method has a use for."""

from collections.abc import Collection, Mapping
from pathlib import Path

from deepseek.errors import InputError
from deepseek.quantization.options import MethodOptions

__all__ = ["ONNX_OBSERVERS", "format_of", "refuse_for_onnx"]

ONNX_OBSERVERS: Mapping[str, str] = {
    "minmax": "MinMax",
    "percentile": "Percentile",
    "entropy": "Entropy",
}
"""The observers that ONNX Runtime has, and what it calls them."""


def format_of(wanted: str | None, model: Path, output: Path) -> str:
    """``hf`` or ``onnx``: as asked for, or as the ending of the output or the model says.

    Raises:
        InputError: An ONNX program is to become anything but one.
    """
    by_ending = "onnx" if ".onnx" in (model.suffix, output.suffix) else "hf"
    chosen = wanted or by_ending
    if chosen == "hf" and by_ending == "onnx":
        which = model if model.suffix == ".onnx" else output
        raise InputError(f"expected --format onnx for {which}, got hf")
    return chosen


def refuse_for_onnx(method: str, options: MethodOptions) -> None:
    """Say what ONNX Runtime's library cannot do.

    Raises:
        InputError: It is asked for it.
    """
    allowed: dict[str, Collection[str]] = {"observer": ONNX_OBSERVERS}
    if method == "weight_only":
        allowed["rounding"] = ("nearest",)
    for name, known in allowed.items():
        if (value := getattr(options, name)) not in known:
            raise InputError(f"expected --{name} {' or '.join(known)} for ONNX, got {value}")
    if options.embeddings:
        raise InputError("expected no --embeddings for ONNX: its tables have one scale for all")
