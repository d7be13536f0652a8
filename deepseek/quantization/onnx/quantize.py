"""Quantize a program by one method or the best of all, and measure what it lost."""

from pathlib import Path

from torch import nn

from deepseek.errors import InputError
from deepseek.formats.model import LoadedModel
from deepseek.progress import Progress
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.evaluate import compare, fitting_metric
from deepseek.quantization.formats import refuse_for_onnx
from deepseek.quantization.methods.smooth import smoothed_copy
from deepseek.quantization.onnx.attempt import (
    Given,
    ProgramAttempt,
    attempt_program,
    rounding_method,
)
from deepseek.quantization.onnx.mixture import program_bytes
from deepseek.quantization.onnx.module import OnnxModule
from deepseek.quantization.onnx.source import export_checked
from deepseek.quantization.quality import judge
from deepseek.quantization.report import Report, Sizes, Timing
from deepseek.quantization.search.best import best_of
from deepseek.quantization.search.clock import Clock
from deepseek.quantization.search.outcome import search_report
from deepseek.quantization.search.session import begin
from deepseek.quantization.search.speed import has_vnni
from deepseek.quantization.search.tries import try_methods

__all__ = ["quantize_program"]

_METHODS = ("dynamic_range", "static", "smooth", "weight_only")


def quantize_program(
    loaded: LoadedModel,
    calibration: Batches,
    held_out: Batches,
    config: QuantizeConfig,
    folder: Path,
    progress: Progress,
    *,
    state_file: Path | None = None,
    resume: bool = False,
) -> tuple[OnnxModule, Report]:
    """Quantize a program, or a model in torch as one.

    Args:
        loaded: A program or a model.
        calibration: To calibrate and to search on.
        held_out: For the verdict, and nothing else.
        config: The method and the budget.
        folder: For programs; the one that is returned lies there.
        progress: Told how far the work has come.
        state_file: Where a search keeps what it has found out; None to keep nothing.
        resume: Go on from what is there.

    Raises:
        InputError: The model cannot be exported, quantized or measured.
        GateError: The export is not equal to the model, or no program is faster than before.
    """
    clock = Clock(config.time_budget)
    original = loaded.model if isinstance(loaded.model, OnnxModule) else loaded.model.float()
    fitting_metric(original, next(iter(calibration)), config.metric)
    work = _Work(loaded, original, calibration, config, folder, progress)
    session = begin(
        original, calibration, config, clock, progress,
        state_file=state_file, resume=resume, marks=("onnx", work.bytes),
    )  # fmt: skip

    def attempt(method: str) -> ProgramAttempt:
        refuse_for_onnx(rounding_method(method, config), config)
        place = folder / method
        place.mkdir()
        return attempt_program(method, work.given(method), calibration, config, place, session)

    methods = _METHODS if config.method == "auto" else (config.method,)
    attempts = try_methods(methods, attempt, session)
    best = best_of(attempts, smallest=config.smallest)
    searched = clock.spent()
    comparison = compare(original, best.model, held_out, progress, wanted=config.metric)
    quality = judge(comparison, max_drop=config.max_drop, seed=config.seed)
    session.state.remove()
    report = Report(
        method=best.method,
        architecture=loaded.architecture,
        layers=best.layers,
        left_alone=best.left_alone,
        sizes=Sizes(
            before=program_bytes(folder / best.method / "float.onnx"),
            after=program_bytes(best.model.path),
        ),
        quality=quality,
        timing=Timing.of(comparison, clock.spent()),
        search=search_report(attempts, best, searched),
        vnni=has_vnni(),
        worst=comparison.worst,
        bits=config.bits if best.method == "weight_only" else 8,
    )
    return best.model, report


class _Work:
    """The program that each method begins with."""

    def __init__(
        self,
        loaded: LoadedModel,
        original: nn.Module,
        calibration: Batches,
        config: QuantizeConfig,
        folder: Path,
        progress: Progress,
    ) -> None:
        self._architecture = loaded.architecture
        self._settings = loaded.config
        self._original = original
        self._calibration = calibration
        self._config = config
        self._folder = folder
        self._progress = progress
        self._exported: Path | None = None
        if isinstance(original, OnnxModule):
            self._exported = original.path

    @property
    def bytes(self) -> int:
        """Of a program that was given: one more mark of it, as its weights are in no module."""
        given = self._original
        return program_bytes(given.path) if isinstance(given, OnnxModule) else 0

    def given(self, method: str) -> Given:
        """What a method begins with."""
        if isinstance(self._original, OnnxModule):
            if method == "smooth":
                raise InputError(
                    "expected a model in torch to smooth, found a program",
                    hint="quantize the checkpoint that it was made from, with --format onnx",
                )
            return self._as_given(self._original.path, None)
        if method == "smooth":
            smoothed = smoothed_copy(
                self._original, self._calibration, self._config.smoothing, self._progress
            )
            path = self._folder / "smoothed.onnx"
            export_checked(smoothed, self._architecture, path, self._progress)
            return self._as_given(path, smoothed)
        if self._exported is None:
            self._exported = self._folder / "exported.onnx"
            export_checked(self._original, self._architecture, self._exported, self._progress)
        return self._as_given(self._exported, self._original)

    def _as_given(self, program: Path, names: nn.Module | None) -> Given:
        return Given(
            program=program,
            model=self._original,
            names=names,
            architecture=self._architecture,
            settings=self._settings,
        )
