"""Write a torch checkpoint: a dictionary of tensors that ``torch.load`` reads with weights_only."""

from collections.abc import Sequence
from pathlib import Path

import torch

from deepseek.formats.casting import cast, cast_info
from deepseek.formats.parity import Parity, compare_tensors
from deepseek.formats.readers.files import read_file
from deepseek.formats.writers.job import Job, PlannedFile
from deepseek.formats.writers.torch_file import write_torch
from deepseek.progress import Progress

__all__ = ["TorchWriter"]


class TorchWriter:
    """Writes the tensors of a job; those that share memory share it again when they are loaded."""

    def __init__(self, job: Job) -> None:
        self._job = job
        infos = job.checkpoint.infos.items()
        self._infos = {name: cast_info(info, job.dtype) for name, info in infos}

    @property
    def files(self) -> Sequence[PlannedFile]:
        """The one file."""
        shared = self._job.checkpoint.shared
        own = {name: info for name, info in self._infos.items() if name not in shared}
        size = sum(info.bytes for info in own.values())
        return (PlannedFile(name=self._job.target.dest.name, tensors=own, bytes=size),)

    @property
    def notes(self) -> Sequence[str]:
        """Nothing has to be decided here."""
        return ()

    def write(self, place: Path, progress: Progress) -> None:
        """Write the file."""
        checkpoint = self._job.checkpoint
        total, done = len(self._infos) - len(checkpoint.shared), 0

        def read(name: str) -> torch.Tensor:
            nonlocal done
            progress("writing tensors", done, total)
            done += 1
            return cast(checkpoint.read(name), self._job.dtype)

        write_torch(place, self._infos, checkpoint.shared, read)
        progress("writing tensors", total, total)

    def check(self, place: Path, progress: Progress) -> Parity:
        """Every tensor, bit for bit."""
        written = read_file(place)
        return compare_tensors(self._job.checkpoint, written, self._job.dtype, progress)
