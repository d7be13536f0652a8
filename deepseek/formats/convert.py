"""Turn a checkpoint into another format, and prove that the result is right."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path

from deepseek.formats.casting import DTYPES
from deepseek.formats.config import ConvertConfig
from deepseek.formats.conversion import Conversion, WrittenFile
from deepseek.formats.fingerprint import fingerprints
from deepseek.formats.open import open_checkpoint
from deepseek.formats.rename import renamed
from deepseek.formats.target import Target, target_of
from deepseek.formats.writers.job import Job, Writer
from deepseek.outputs import refuse_existing, staged
from deepseek.progress import Progress, silent

__all__ = ["convert"]

_WRITERS = {
    "safetensors": ("deepseek.formats.writers.safetensors", "SafetensorsWriter"),
    "torch": ("deepseek.formats.writers.torch", "TorchWriter"),
    "hf": ("deepseek.formats.writers.hf", "HuggingFaceWriter"),
    "onnx": ("deepseek.formats.writers.onnx", "OnnxWriter"),
}


def convert(config: ConvertConfig, *, progress: Progress = silent) -> Conversion:
    """Convert a checkpoint.

    The result is written beside its place, loaded again and compared with the source. Only when
    that passes, or ``allow_mismatch`` says so, it is renamed into place, with a report.

    Args:
        config: What to convert into what.
        progress: Told how far it has come.

    Returns:
        What was written and how it compares; ``passed`` says whether every gate was met.

    Raises:
        InputError: The source cannot be read, the target cannot be written, or the two do not fit.
    """
    target = target_of(config)
    refuse_existing(target.dest, overwrite=config.overwrite, companions=target.companions)
    clock = _Clock()
    with clock("reading"):
        job = _job(config, target)
        writer = _writer(job)
    conversion = Conversion(
        checkpoint=job.checkpoint,
        config=config,
        target=target,
        planned=tuple(writer.files),
        notes=(*job.checkpoint.notes, *writer.notes),
        seconds=clock.seconds,
    )
    if config.dry_run:
        return conversion
    try:
        with staged(target.dest, overwrite=config.overwrite, companions=target.companions) as place:
            conversion = _carry_out(conversion, writer, place, clock, progress)
            if not conversion.kept:
                raise _Discarded  # noqa: TRY301 - leaving the block this way removes the output
    except _Discarded:
        pass
    return conversion


class _Discarded(Exception):  # noqa: N818 - nothing is wrong with the program
    """The output missed a gate and is not kept."""


@dataclass(slots=True)
class _Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - begin, 3)


def _job(config: ConvertConfig, target: Target) -> Job:
    checkpoint = open_checkpoint(
        config.source, allow_globals=config.allow_global, config=config.model_config
    )
    return Job(
        checkpoint=renamed(checkpoint, config.map),
        target=target,
        config=config,
        dtype=DTYPES.get(config.dtype),
    )


def _writer(job: Job) -> Writer:
    module, name = _WRITERS[job.target.format]
    make: Callable[[Job], Writer] = getattr(import_module(module), name)
    return make(job)


def _carry_out(
    conversion: Conversion, writer: Writer, place: Path, clock: _Clock, progress: Progress
) -> Conversion:
    target = conversion.target
    with clock("writing"):
        writer.write(place, progress)
    with clock("checking"):
        parity = writer.check(place, progress)
    with clock("hashing"):
        hashes = fingerprints(conversion.checkpoint.files, progress)
    conversion = replace(
        conversion,
        parity=parity,
        sources=hashes,
        files=tuple(_files(target, place)),
        notes=(*conversion.notes, *parity.notes),
    )
    if conversion.kept:
        text = json.dumps(conversion.document(), indent=2, ensure_ascii=False) + "\n"
        target.report_of(place).write_text(text, encoding="utf-8")
    return conversion


def _files(target: Target, place: Path) -> Iterator[WrittenFile]:
    """What was written, by its names relative to where DEST lies."""
    top = place if target.is_folder else place.parent
    for path in sorted(top.rglob("*")):
        if path.is_file():
            name = path.relative_to(top).as_posix()
            yield WrittenFile(name=name, bytes=path.stat().st_size)
