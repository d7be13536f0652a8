"""Write ONNX: the model as a program, for every batch and length."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import onnx
import torch

from deepseek.errors import InputError
from deepseek.formats.checkpoint import TensorInfo
from deepseek.formats.exporting.compare import Limits, compare_outputs
from deepseek.formats.exporting.program import FIRST_FOLLOWED, export, save
from deepseek.formats.exporting.signature import signature_of
from deepseek.formats.model import model_of
from deepseek.formats.parity import Parity
from deepseek.formats.writers.job import Job, PlannedFile
from deepseek.progress import Progress

__all__ = ["OnnxWriter"]

_OPSET = 20
_LIMITS = {
    torch.float32: Limits(error=1e-4, cosine=0.9999),
    torch.float16: Limits(error=2e-2, cosine=0.999),
}


class OnnxWriter:
    """Writes the program of a model.

    Raises:
        InputError: The model cannot be loaded, has no ONNX form or is quantized, or ``--dtype`` is
            one that ONNX Runtime does not compute with.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._opset = job.config.opset or _OPSET
        self._dtype, notes = _dtype_of(job, self._opset)
        _refuse_quantized(job)
        model, recognised = model_of(job.checkpoint)
        self._model = cast("torch.nn.Module", model).to(self._dtype)
        self._architecture = recognised.architecture
        self._notes = (*notes, *recognised.notes)
        self._signature = signature_of(self._model, self._architecture)

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
        model = self._model.to(torch.float32)
        outputs, failures = compare_outputs(model, self._signature, place, limits, progress)
        return Parity(
            outputs=outputs,
            opset=opset,
            architecture=self._architecture,
            misses=(*misses, *failures),
        )


def _refuse_quantized(job: Job) -> None:
    # Their rounding at run time does not survive the export: outputs differ by some percent.
    if (job.checkpoint.config or {}).get("quantization_config") is not None:
        raise InputError(
            f"{job.config.source} is quantized, and its arithmetic has no ONNX form here",
            hint="convert the model that it was made from",
        )


def _dtype_of(job: Job, opset: int) -> tuple[torch.dtype, tuple[str, ...]]:
    if job.dtype is torch.bfloat16:
        raise InputError(
            f"ONNX Runtime does not compute in {job.config.dtype} on processors",
            hint="--dtype fp32 holds every value of bf16 exactly; fp16 is half the size",
        )
    infos = job.checkpoint.infos.values()
    found = {info.dtype for info in infos if info.dtype.is_floating_point}
    if job.dtype is torch.float16 or (job.dtype is None and found == {torch.float16}):
        if opset < FIRST_FOLLOWED:
            # There the exporter mixes fp32 and fp16 in LayerNormalization, which is not valid.
            raise InputError(
                f"expected --opset {FIRST_FOLLOWED} or above for fp16, got {opset}",
                hint="or write fp32 with --dtype fp32",
            )
        return torch.float16, ()
    if job.dtype is not None:
        return job.dtype, ()
    others = sorted(str(dtype).removeprefix("torch.") for dtype in found - {torch.float32})
    notes = (f"{' and '.join(others)} is written as float32",) if others else ()
    return torch.float32, notes


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
