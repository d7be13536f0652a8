"""What was done and what came of it: for ``report.json`` and for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from deepseek.quantization.apply import LeftAlone
from deepseek.quantization.evaluate import Comparison, Worst
from deepseek.quantization.methods.method import QuantizedLayer
from deepseek.quantization.quality import Quality
from deepseek.quantization.search.outcome import SearchReport
from deepseek.versions import versions

__all__ = ["Report", "Sizes", "Source", "Timing"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Bytes of all tensors, shared ones once."""

    before: int
    after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds: of all the work, and of a record's way through each model.

    The last two are an indication only: one pass over records of mixed length on a machine that
    may have had other work.
    """

    total: float
    record_before: float
    record_after: float

    @classmethod
    def of(cls, comparison: Comparison, total: float) -> Self:
        """What a comparison took a record, and the seconds in all."""
        return cls(
            total=total,
            record_before=comparison.seconds_before,
            record_after=comparison.seconds_after,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where the model and the data came from, when they came from files."""

    model: str
    calib_data: str
    calibration: int
    held_out: int
    labelled: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was done and what came of it.

    Attributes:
        method: The method's name.
        architecture: The class of the model.
        layers: The layers quantized.
        left_alone: Layers that could have been, and why they were not.
        sizes: Bytes before and after.
        quality: The verdict.
        timing: How long it took.
        search: What was found out before the verdict.
        vnni: Whether the processor has instructions for INT8.
        worst: Held-out records that lost most.
        notes: What a user should know.
        source: Files, where there were any.
        output: The folder written; None where none was.
        bits: Of a quantized weight.
    """

    method: str
    architecture: str
    layers: Sequence[QuantizedLayer]
    left_alone: Sequence[LeftAlone]
    sizes: Sizes
    quality: Quality
    timing: Timing
    search: SearchReport | None = None
    vnni: bool = True
    worst: Sequence[Worst] = ()
    notes: tuple[str, ...] = ()
    source: Source | None = None
    output: str | None = None
    bits: int = 8

    def to_document(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "schema": "deepseek.quantize/1",
            "method": self.method,
            "bits": self.bits,
            "architecture": self.architecture,
            "source": None if self.source is None else _plain(self.source),
            "output": self.output,
            "passed": self.quality.passed,
            "verdict": self.quality.verdict,
            "quality": _plain(self.quality),
            "size_bytes": _plain(self.sizes),
            "seconds": _plain(self.timing),
            "layers": [_plain(layer) for layer in self.layers],
            "left_alone": [_plain(layer) for layer in self.left_alone],
            "search": None if self.search is None else _plain(self.search),
            "worst": _plain(self.worst),
            "notes": list(self.notes),
            "machine": {
                "vnni": self.vnni,
                "cpu": torch.cpu.get_capabilities().get("cpu_name"),
                "threads": torch.get_num_threads(),
            },
            "versions": versions(),
        }


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries, sequences as lists."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
