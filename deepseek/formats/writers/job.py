"""What a writer is given, and what it says it will write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from deepseek.formats.checkpoint import Checkpoint, TensorInfo
from deepseek.formats.config import ConvertConfig
from deepseek.formats.parity import Parity
from deepseek.formats.target import Target
from deepseek.progress import Progress

__all__ = ["Job", "PlannedFile", "Writer", "planned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One conversion.

    Attributes:
        checkpoint: What is read, its tensors renamed already.
        target: What is to be written and where.
        config: What the user asked for.
        dtype: Type of the floating-point tensors written; None keeps each one's own.
    """

    checkpoint: Checkpoint
    target: Target
    config: ConvertConfig
    dtype: torch.dtype | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFile:
    """A file that will be written.

    Attributes:
        name: Its name, relative to a folder that is written.
        tensors: Shape and type of every tensor in it, those that share memory once.
        bytes: Size of its content: exact where there are no tensors, else of the tensors alone.
    """

    name: str
    bytes: int
    tensors: dict[str, TensorInfo]


def planned(name: str, content: bytes) -> PlannedFile:
    """A file without tensors."""
    return PlannedFile(name=name, bytes=len(content), tensors={})


class Writer(Protocol):
    """Writes one job.

    Attributes:
        files: What will be written.
        notes: What a user should know about it.
    """

    @property
    def files(self) -> Sequence[PlannedFile]:
        """What will be written."""

    @property
    def notes(self) -> Sequence[str]:
        """What had to be decided on the way, in a user's words."""

    def write(self, place: Path, progress: Progress) -> None:
        """Write the output to ``place``, where nothing is yet."""

    def check(self, place: Path, progress: Progress) -> Parity:
        """Load what was written again and hold it against the source."""
