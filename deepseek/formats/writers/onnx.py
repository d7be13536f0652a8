"""Write ONNX: the model as a program, for every batch and length."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from deepseek.errors import InputError
from deepseek.formats.checkpoint import TensorInfo
from deepseek.formats.exporting.compare import Limits, compare_outputs
from deepseek.formats.exporting.program import export, save
from deepseek.formats.exporting.signature import signature_of
from deepseek.formats.model import LoadedModel, load_model
from deepseek.formats.parity import Parity
from deepseek.formats.writers.job import Job, PlannedFile
from deepseek.formats.writers.shards import plan_files, write_files
from deepseek.progress import Progress, silent

__all__ = ["OnnxWriter"]

_OPSET = 20
_LIMITS = {
    torch.float32: Limits(error=1e-4, cosine=0.9999),
    torch.float16: Limits(error=2e-2, cosine=0.999),
}


class OnnxWriter:
    """Writes the program of a model.

    Raises:
        InputError: The model cannot be loaded or has no ONNX form, or ``--dtype`` is one that ONNX
            Runtime does not compute with.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._dtype, notes = _dtype_of(job)
        loaded = _loaded(job)
        self._model = loaded.model.to(self._dtype)
        self._architecture = loaded.architecture
        self._notes = (*notes, *loaded.notes)
        self._signature = signature_of(self._model, loaded.architecture)
        self._opset = job.config.opset or _OPSET

    @property
    def files(self) -> Sequence[PlannedFile]:
        """The program, with the parameters of the model."""
        infos = {
            name: TensorInfo(shape=tuple(tensor.shape), dtype=tensor.dtype)
            for name, tensor in self._model.named_parameters()
        }
        size = sum(info.bytes for info in infos.values())
        return (PlannedFile(name=self._job.target.dest.name, tensors=infos, bytes=size),)

    @property
    def notes(self) -> Sequence[str]:
        """What was assumed about type and architecture."""
        return self._notes

    @property
    def architecture(self) -> str:
        """The class that is exported."""
        return self._architecture

    def write(self, place: Path, progress: Progress) -> None:
        """Export."""
        progress("exporting", 0, 1)
        save(export(self._model, self._signature, self._architecture, self._opset), place)
        progress("exporting", 1, 1)

    def check(self, place: Path, progress: Progress) -> Parity:
        """The program is valid, and computes what torch computes at sizes it was not made with."""
        opset, misses = _examined(place, self._opset)
        limits = _LIMITS[self._dtype]
        if self._job.config.max_error is not None:
            limits = Limits(error=self._job.config.max_error, cosine=limits.cosine)
        # Rounded weights, exact arithmetic: the yardstick for half precision too.
        model = self._model.float()
        outputs, failures = compare_outputs(model, self._signature, place, limits, progress)
        return Parity(outputs=outputs, opset=opset, misses=(*misses, *failures))


def _dtype_of(job: Job) -> tuple[torch.dtype, tuple[str, ...]]:
    if job.dtype in _LIMITS:
        return job.dtype, ()
    if job.dtype is not None:
        raise InputError(
            f"ONNX Runtime does not compute in {job.config.dtype} on processors",
            hint="--dtype fp32 holds every value of bf16 exactly; fp16 is half the size",
        )
    found = {info.dtype for info in job.checkpoint.infos.values() if info.dtype.is_floating_point}
    if found == {torch.float16}:
        return torch.float16, ()
    others = sorted(str(dtype).removeprefix("torch.") for dtype in found - {torch.float32})
    notes = (f"{' and '.join(others)} is written as float32",) if others else ()
    return torch.float32, notes


def _loaded(job: Job) -> LoadedModel:
    config = job.config
    if not config.map:
        return load_model(
            job.checkpoint.source,
            config=config.model_config,
            allow_globals=config.allow_global,
        )
    # The loader takes a place on the disk, so the new names go there first.
    with tempfile.TemporaryDirectory() as folder:
        files = plan_files(job.checkpoint, None, limit=None, name="model.safetensors")
        write_files(Path(folder), files, job.checkpoint, None, silent)
        if job.checkpoint.config is not None:
            text = json.dumps(dict(job.checkpoint.config))
            (Path(folder) / "config.json").write_text(text, encoding="utf-8")
        return load_model(Path(folder))


def _examined(place: Path, wanted: int) -> tuple[int, tuple[str, ...]]:
    """The operator set that was produced, and what is wrong with the program."""
    imports = onnx.load(place, load_external_data=False).opset_import
    produced = next(entry.version for entry in imports if entry.domain in ("", "ai.onnx"))
    misses = []
    if produced != wanted:
        misses.append(f"the exporter produced operator set {produced}, expected {wanted}")
    try:
        onnx.checker.check_model(str(place))
    except onnx.checker.ValidationError as error:
        misses.append(f"not valid ONNX: {' '.join(str(error).split())}")
    return produced, tuple(misses)
