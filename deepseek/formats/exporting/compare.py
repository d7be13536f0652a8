"""Hold the outputs of a program, one for ONNX Runtime or another, against those of torch."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deepseek.formats.exporting.outputs import outputs_of
from deepseek.formats.exporting.signature import Signature
from deepseek.formats.parity import OutputParity
from deepseek.progress import Progress

__all__ = ["Limits", "compare_all", "compare_outputs", "differing"]

_TYPES = {"tensor(float16)": torch.float16, "tensor(float)": torch.float32}


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How far a program may be from torch.

    Attributes:
        error: Largest difference as a share of the largest magnitude of torch's output. Classes
            whose logits are closer than this count as the same.
        cosine: Smallest cosine between corresponding vectors.
    """

    error: float
    cosine: float


def compare_outputs(
    model: torch.nn.Module, signature: Signature, path: Path, limits: Limits, progress: Progress
) -> tuple[tuple[OutputParity, ...], tuple[str, ...]]:
    """Run both on every trial of the signature.

    Positions that the padding hides are not compared; their content is nobody's business.

    Args:
        model: The model in float32.
        signature: Its inputs.
        path: The program.
        limits: What is accepted.
        progress: Told about every trial.

    Returns:
        The comparisons, and what went wrong in one line each.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    found: list[OutputParity] = []
    misses: list[str] = []
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no other base
        return (), (f"ONNX Runtime cannot load it: {_line(error)}",)
    for done, sizes in enumerate(signature.trials):
        progress("comparing outputs", done, len(signature.trials))
        inputs = signature.make(sizes)
        with torch.inference_mode():
            expected = outputs_of(model, inputs)
        try:
            computed = _run(session, inputs)
        except Exception as error:  # noqa: BLE001 - as above
            misses.append(f"ONNX Runtime fails at {sizes}: {_line(error)}")
            continue
        mask = inputs.get("attention_mask")
        found += compare_all(str(sizes), expected, computed, mask, limits)
    progress("comparing outputs", len(signature.trials), len(signature.trials))
    return tuple(found), (*misses, *differing(found, limits))


def _run(session: Any, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    types = {entry.name: _TYPES.get(entry.type) for entry in session.get_inputs()}
    feed = {name: tensor.to(types[name] or tensor.dtype).numpy() for name, tensor in inputs.items()}
    names = [entry.name for entry in session.get_outputs()]
    values = session.run(names, feed)
    return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}


def compare_all(
    shape: str,
    expected: dict[str, torch.Tensor],
    computed: dict[str, torch.Tensor],
    mask: torch.Tensor | None,
    limits: Limits,
) -> Iterator[OutputParity]:
    """The comparison of each output, by name; what the padding mask hides is left out."""
    for name, reference in expected.items():
        value = computed.get(name)
        if value is None or value.shape != reference.shape:
            yield OutputParity(shape=shape, output=name, max_abs=math.inf, max_rel=math.inf,
                               argmax=None, cosine=None, passed=False)  # fmt: skip
            continue
        yield _compare(shape, name, _seen(reference, mask), _seen(value, mask), limits)


def _seen(value: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The positions of an output that the padding does not hide."""
    by_position = mask is not None and value.dim() > 2 and value.shape[:2] == mask.shape
    return (value[mask.bool()] if mask is not None and by_position else value).double()


def _compare(
    shape: str, name: str, expected: torch.Tensor, computed: torch.Tensor, limits: Limits
) -> OutputParity:
    finite = expected.isfinite() & computed.isfinite()
    difference = (expected - computed).abs().where(finite, _unequal(expected, computed))
    max_abs = difference.max().item()
    largest = expected.abs().nan_to_num(0, 0, 0).max().item()
    max_rel = max_abs / largest if largest else max_abs
    argmax = cosine = None
    passed = max_rel <= limits.error
    if expected.dim() > 1 and expected.shape[-1] > 1:
        if "logits" in name:
            argmax, ties_only = _argmax(expected, computed, limits.error * largest)
            passed = passed and ties_only
        else:
            cosine = torch.nn.functional.cosine_similarity(expected, computed, dim=-1).min().item()
            passed = passed and cosine >= limits.cosine
    return OutputParity(shape=shape, output=name, max_abs=max_abs, max_rel=max_rel,
                        argmax=argmax, cosine=cosine, passed=passed)  # fmt: skip


def _unequal(expected: torch.Tensor, computed: torch.Tensor) -> torch.Tensor:
    """Infinity where two values that are not finite differ, zero where they are the same."""
    same = (expected == computed) | (expected.isnan() & computed.isnan())
    return torch.full_like(expected, math.inf).masked_fill(same, 0.0)


def _argmax(expected: torch.Tensor, computed: torch.Tensor, tie: float) -> tuple[float, bool]:
    """Share of positions with the same best class, and whether all others are ties in torch."""
    chosen = computed.argmax(-1, keepdim=True)
    agreement = (chosen.squeeze(-1) == expected.argmax(-1)).double().mean().item()
    lost = expected.max(-1, keepdim=True).values - expected.gather(-1, chosen)
    return agreement, bool((lost <= tie).all())


def differing(found: Sequence[OutputParity], limits: Limits) -> list[str]:
    """One line for all outputs that are too far off; the comparisons themselves have the rest."""
    missed = [one for one in found if not one.passed]
    if not missed:
        return []
    worst = max(missed, key=lambda one: one.max_rel)
    line = (
        f"{len(missed)} of {len(found)} outputs differ from torch; {worst.output} at {worst.shape} "
        f"by {worst.max_rel:.2g} of its largest value, accepted are {limits.error:.2g}"
    )
    return [line]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
