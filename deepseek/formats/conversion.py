"""What came of a conversion, and its report."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.config import ConvertConfig
from deepseek.formats.fingerprint import Fingerprint
from deepseek.formats.parity import OutputParity, Parity
from deepseek.formats.target import Target
from deepseek.formats.writers.job import PlannedFile
from deepseek.versions import versions

__all__ = ["Conversion", "WrittenFile", "parity_document"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """A file that was written: its name, in the folder or beside the output, and its size."""

    name: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """What came of a conversion.

    Attributes:
        checkpoint: What was read, its tensors renamed already.
        config: What was asked for.
        target: What was to be written and where.
        planned: The files that were to be written.
        files: The files that were written, without the report, kept or not.
        parity: How they compare with the source; None after a dry run.
        sources: The files that were read.
        notes: What was assumed or decided.
        seconds: Duration of each stage.
    """

    checkpoint: Checkpoint
    config: ConvertConfig
    target: Target
    planned: tuple[PlannedFile, ...]
    files: tuple[WrittenFile, ...] = ()
    parity: Parity | None = None
    sources: tuple[Fingerprint, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every gate was met."""
        return self.parity is None or self.parity.passed

    @property
    def kept(self) -> bool:
        """Whether the output is there: written, and right or wanted in spite of a mismatch."""
        return self.parity is not None and (self.parity.passed or self.config.allow_mismatch)

    def document(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "schema": "deepseek.convert/1",
            "dry_run": self.config.dry_run,
            "passed": self.passed,
            "kept": self.kept,
            "source": self._source(),
            "target": self._target(),
            "parity": None if self.parity is None else parity_document(self.parity),
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
            "versions": versions(),
        }

    def _source(self) -> dict[str, Any]:
        return {
            "path": str(self.config.source),
            "format": self.checkpoint.format,
            "tensors": len(self.checkpoint.infos),
            "bytes": self.checkpoint.bytes,
            "shared": dict(self.checkpoint.shared),
            "files": [
                {"path": str(one.path), "bytes": one.bytes, "sha256": one.sha256}
                for one in self.sources
            ],
        }

    def _target(self) -> dict[str, Any]:
        written = [{"name": one.name, "bytes": one.bytes} for one in self.files if self.kept]
        return {
            "path": str(self.target.dest),
            "format": self.target.format,
            "dtype": self.config.dtype,
            "renames": list(self.config.map),
            "files": [_planned(one) for one in self.planned] if self.config.dry_run else written,
        }


def _planned(file: PlannedFile) -> dict[str, Any]:
    tensors = {
        name: {"shape": list(info.shape), "dtype": str(info.dtype).removeprefix("torch.")}
        for name, info in file.tensors.items()
    }
    return {"name": file.name, "bytes": file.bytes, "tensors": tensors}


def parity_document(parity: Parity) -> dict[str, Any]:
    """A comparison as plain JSON values."""
    tensors = parity.tensors
    return {
        "passed": parity.passed,
        "misses": list(parity.misses),
        "opset": parity.opset,
        "architecture": parity.architecture,
        "tensors": None
        if tensors is None
        else {
            "compared": tensors.compared,
            "max_abs": _number(tensors.max_abs),
            "max_rel": _number(tensors.max_rel),
        },
        "outputs": [_output(one) for one in parity.outputs],
    }


def _output(one: OutputParity) -> dict[str, Any]:
    return {
        "shape": one.shape,
        "output": one.output,
        "max_abs": _number(one.max_abs),
        "max_rel": _number(one.max_rel),
        "argmax": one.argmax,
        "cosine": one.cosine,
        "passed": one.passed,
    }


def _number(value: float) -> float | None:
    """JSON has no infinity; a difference that is none is null."""
    return value if math.isfinite(value) else None
