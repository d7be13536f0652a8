"""The proof of a conversion: tensor for tensor against the source, bit for bit."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from deepseek.formats.casting import cast, cast_info, pieces
from deepseek.formats.checkpoint import Checkpoint
from deepseek.progress import Progress, silent

__all__ = ["OutputParity", "Parity", "TensorParity", "compare_tensors", "named"]

_NAMED = 3  # how many tensors a message names


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorParity:
    """How the tensors written compare with those of the source.

    Attributes:
        compared: How many were compared, those that share memory under each of their names.
        max_abs: Largest difference that the change of type made; 0 where there was none.
        max_rel: That difference as a share of the largest magnitude in its tensor; the worst one.
    """

    compared: int
    max_abs: float
    max_rel: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputParity:
    """How one output of ONNX Runtime compares with torch's on one input.

    Attributes:
        shape: The sizes of the input, ``batch x sequence`` for text, and how it was padded.
        output: Its name.
        max_abs: Largest difference of an element.
        max_rel: The same as a share of the largest magnitude in torch's output.
        argmax: Share of positions with the same best class, for logits.
        cosine: Smallest cosine between corresponding vectors, for everything else.
        passed: Whether it is within the limits.
    """

    shape: str
    output: str
    max_abs: float
    max_rel: float
    argmax: float | None
    cosine: float | None
    passed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """Everything that was compared after writing.

    Attributes:
        tensors: The comparison of tensors, where the format keeps them as they are.
        outputs: The comparisons of outputs, where the format is a program.
        opset: The operator set that was really produced, for ONNX.
        architecture: The class of the model, where the output was loaded or exported as one.
        misses: What is wrong, one line each; empty when every gate passed.
        notes: What is worth knowing although it is not wrong.
    """

    tensors: TensorParity | None = None
    outputs: tuple[OutputParity, ...] = ()
    opset: int | None = None
    architecture: str | None = None
    misses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return not self.misses


def compare_tensors(
    source: Checkpoint,
    written: Checkpoint,
    dtype: torch.dtype | None,
    progress: Progress = silent,
) -> Parity:
    """Hold every tensor written against its source.

    Each must have the bits of the source tensor, or where ``dtype`` is given exactly those that
    rounding the source to it gives; none may turn finite values into infinities; and names that
    shared memory must share it again.

    Args:
        source: What was read, under the names that were to be written.
        written: The output, opened again.
        dtype: The type floating-point tensors were written in; None for their own.
        progress: Told about every tensor.
    """
    misses = [*_missing(source, written), *_untied(source, written)]
    names = [name for name in source.infos if name in written.infos]
    wrong: list[str] = []
    overflowed: list[str] = []
    max_abs = max_rel = 0.0
    for done, name in enumerate(names):
        progress("comparing tensors", done, len(names))
        if written.infos[name] != cast_info(source.infos[name], dtype):
            wrong.append(name)
            continue
        found = _compare(source.read(name), written.read(name), dtype)
        wrong += [] if found.equal else [name]
        overflowed += [name] if found.overflows else []
        max_abs, max_rel = max(max_abs, found.max_abs), max(max_rel, found.max_rel)
    progress("comparing tensors", len(names), len(names))
    if wrong:
        misses.append(f"different from the source, of {len(names)} tensors: {named(wrong)}")
    if overflowed:
        misses.append(f"values too large for {dtype}: {named(overflowed)}")
    tensors = TensorParity(compared=len(names), max_abs=max_abs, max_rel=max_rel)
    return Parity(tensors=tensors, misses=tuple(misses))


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Of one tensor: the same bits, values lost to infinity, largest rounding."""

    equal: bool
    overflows: bool
    max_abs: float
    max_rel: float


def _compare(source: torch.Tensor, written: torch.Tensor, dtype: torch.dtype | None) -> _Comparison:
    equal, overflows, largest, error = True, False, 0.0, 0.0
    rounded = dtype is not None and source.is_floating_point() and source.dtype != dtype
    for before, after in zip(pieces(source), pieces(written), strict=True):
        expected = cast(before, dtype)
        equal = equal and torch.equal(expected.view(torch.uint8), after.view(torch.uint8))
        if rounded and before.numel():
            wide = before.double()
            gone = wide.isfinite() & ~after.isfinite()
            overflows = overflows or bool(gone.any())
            error = max(error, (wide - after.double()).nan_to_num(0, 0, 0).abs().max().item())
            largest = max(largest, wide.nan_to_num(0, 0, 0).abs().max().item())
    return _Comparison(equal, overflows, error, error / largest if largest else 0.0)


def _missing(source: Checkpoint, written: Checkpoint) -> list[str]:
    lost = [name for name in source.infos if name not in written.infos]
    new = [name for name in written.infos if name not in source.infos]
    return [
        *([f"missing from the output: {named(lost)}"] if lost else []),
        *([f"in the output, but not in the source: {named(new)}"] if new else []),
    ]


def _untied(source: Checkpoint, written: Checkpoint) -> list[str]:
    lost = _groups(source.shared) - _groups(written.shared)
    return [f"no longer sharing memory: {named(sorted(group))}" for group in lost]


def _groups(shared: Mapping[str, str]) -> set[frozenset[str]]:
    """The sets of names that share memory, whichever of them is said to hold it."""
    groups: dict[str, set[str]] = {}
    for other, kept in shared.items():
        groups.setdefault(kept, {kept}).add(other)
    return {frozenset(group) for group in groups.values()}


def named(names: Collection[str]) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - _NAMED
    return ", ".join(list(names)[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
