"""A packing that can be interrupted: finished shards and the place behind them, beside the output.

The folder ``.NAME.packing`` beside the output holds the shards that are finished and a journal.
A shard appears there by being renamed, then the journal says so; whatever is interrupted between,
or in the middle of a shard, is simply done again.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepseek.data.packed.index import ShardEntry
from deepseek.data.packing.sequences import Place
from deepseek.errors import InputError
from deepseek.outputs import refuse_existing, staged

__all__ = ["Job", "Journal", "job_folder", "open_job"]

_JOURNAL = "journal.json"
_SCHEMA = "deepseek.packing/1"


@dataclass(frozen=True, slots=True)
class Journal:
    """How far a packing has come.

    Attributes:
        fingerprint: The same for the same sources and settings.
        shards: Finished shards.
        place: What comes next.
        empty: Rows without text up to there.
    """

    fingerprint: str
    shards: tuple[ShardEntry, ...] = ()
    place: Place = field(default_factory=Place)
    empty: int = 0


@dataclass(slots=True)
class Job:
    """An open packing.

    Attributes:
        folder: Where shards are written.
        journal: How far it has come.
    """

    folder: Path
    journal: Journal

    def note(self, shards: list[ShardEntry], place: Place, empty: int) -> None:
        """Write down that these shards are finished, and what comes behind them."""
        self.journal = Journal(self.journal.fingerprint, tuple(shards), place, empty)
        document = {"schema": _SCHEMA, **asdict(self.journal)}
        part = self.folder / f"{_JOURNAL}.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.folder / _JOURNAL)


def job_folder(output: Path) -> Path:
    """Where the packing of an output keeps what is finished."""
    return output.with_name(f".{output.name}.packing")


@contextmanager
def open_job(output: Path, fingerprint: str, *, resume: bool, overwrite: bool) -> Iterator[Job]:
    """Begin or go on with a packing; when the block ends well, its folder becomes the output.

    When it is interrupted, finished shards stay for ``resume``. When the input is at fault, or no
    shard was finished, nothing stays.

    Args:
        output: The folder to become.
        fingerprint: The same for the same sources and settings.
        resume: Go on with what is there.
        overwrite: Replace the output, and begin again whatever is there of an earlier packing.

    Yields:
        The job. The block leaves only what belongs to the output in its folder.

    Raises:
        InputError: The output is taken, an interrupted packing is in the way or has other
            sources, or another process is at it.
    """
    output = Path(os.path.abspath(output))  # noqa: PTH100 - resolve() would follow a link
    refuse_existing(output, overwrite=overwrite)
    folder = job_folder(output)
    with _locked(folder):
        journal = _begun(folder, fingerprint, resume=resume, overwrite=overwrite)
        job = Job(folder, journal or Journal(fingerprint))
        try:
            yield job
            (folder / _JOURNAL).unlink(missing_ok=True)
            with staged(output, overwrite=overwrite) as place:
                folder.rename(place)
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except BaseException:
            if not job.journal.shards:
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _begun(folder: Path, fingerprint: str, *, resume: bool, overwrite: bool) -> Journal | None:
    """The journal of an interrupted packing; an empty folder where there is none to go on with."""
    journal = _read(folder / _JOURNAL)
    if journal is not None and not resume and not overwrite:
        raise InputError(
            f"an interrupted packing lies in {folder}: "
            f"{sum(shard.records for shard in journal.shards)} records",
            hint="--resume goes on with it, --overwrite begins again",
        )
    if resume and journal is not None:
        if journal.fingerprint != fingerprint:
            raise InputError(
                f"the packing in {folder} began with other sources or settings",
                hint="give the same ones, or --overwrite to begin again",
            )
        _check(folder, journal)
        return journal
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return None


def _check(folder: Path, journal: Journal) -> None:
    for shard in journal.shards:
        path = folder / shard.file
        if not path.is_file() or path.stat().st_size != shard.bytes:
            raise InputError(
                f"{path}: expected {shard.bytes} bytes of a finished shard, found another size",
                hint="--overwrite begins again",
            )


def _read(path: Path) -> Journal | None:
    """The journal at ``path``, or None where there is none that makes sense."""
    try:
        document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != _SCHEMA:
            return None
        return Journal(
            str(document["fingerprint"]),
            tuple(ShardEntry(**entry) for entry in document["shards"]),
            Place(**document["place"]),
            int(document["empty"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from packing the same output; the lock ends with this process."""
    path = folder.with_name(f"{folder.name}.lock")
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"cannot write into {path.parent}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InputError(f"another process is packing into {folder}") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
