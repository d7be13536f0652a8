"""Write safetensors: one file, or a folder of them with an index."""

from collections.abc import Sequence
from pathlib import Path

from deepseek.formats.parity import Parity, compare_tensors
from deepseek.formats.readers.files import read_file
from deepseek.formats.readers.folder import read_folder
from deepseek.formats.writers.job import Job, PlannedFile, planned
from deepseek.formats.writers.shards import index_of, oversized, plan_files, write_files
from deepseek.progress import Progress

__all__ = ["SafetensorsWriter"]


class SafetensorsWriter:
    """Writes the tensors of a job and nothing else."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._limit = job.config.shard_size
        name = "model.safetensors" if job.target.is_folder else job.target.dest.name
        self._weights = plan_files(job.checkpoint, job.dtype, limit=self._limit, name=name)
        self._index = index_of(self._weights)

    @property
    def files(self) -> Sequence[PlannedFile]:
        """The file, or the shards and their index."""
        return (*self._weights, *(planned(name, text) for name, text in self._index.items()))

    @property
    def notes(self) -> Sequence[str]:
        """Tensors that are larger than a shard may be."""
        return oversized(self._weights, self._limit)

    def write(self, place: Path, progress: Progress) -> None:
        """Write the file or the folder."""
        folder = place if self._job.target.is_folder else place.parent
        folder.mkdir(exist_ok=True)
        write_files(folder, self._weights, self._job.checkpoint, self._job.dtype, progress)
        for name, text in self._index.items():
            (folder / name).write_bytes(text)

    def check(self, place: Path, progress: Progress) -> Parity:
        """Every tensor, bit for bit."""
        written = read_folder(place) if self._job.target.is_folder else read_file(place)
        return compare_tensors(self._job.checkpoint, written, self._job.dtype, progress)
