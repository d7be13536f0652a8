"""Quantize a model that is in memory, and measure what it lost."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from deepseek.progress import Progress, silent
from deepseek.quantization.apply import copy_sharing_tensors, plan_layers
from deepseek.quantization.batches import Batch, Batches, given_batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.evaluate import compare, fitting_metric
from deepseek.quantization.methods import METHODS
from deepseek.quantization.quality import judge
from deepseek.quantization.report import Report, Sizes, Timing
from deepseek.quantization.search.attempt import attempt
from deepseek.quantization.search.best import best_of
from deepseek.quantization.search.clock import Clock
from deepseek.quantization.search.outcome import search_report
from deepseek.quantization.search.session import begin
from deepseek.quantization.search.speed import has_vnni
from deepseek.quantization.search.tries import try_methods
from deepseek.quantization.search.units import tensor_bytes

__all__ = ["quantize", "quantize_on"]


def quantize(
    model: nn.Module,
    calibration: Iterable[Mapping[str, Tensor]],
    config: QuantizeConfig | None = None,
    *,
    held_out: Iterable[Mapping[str, Tensor]] | None = None,
    progress: Progress = silent,
) -> tuple[nn.Module, Report]:
    """Quantize a model.

    Args:
        model: Any module; its linear layers are what is quantized. It is left as it is.
        calibration: Batches of its keyword arguments, perhaps with ``labels``.
        config: The method and the budget.
        held_out: Batches to measure on; by default every other one of ``calibration``, which is
            then not calibrated on.
        progress: Told how far the work has come.

    Returns:
        A quantized copy in eval mode, which shares its other tensors with the model, and the
        report. A loss over the budget is no error here: see ``report.quality.passed``.

    Raises:
        InputError: The model cannot be quantized, or not be measured on these batches.
    """
    batches = given_batches(calibration)
    if held_out is None:
        return quantize_on(model, *_halves(batches), config or QuantizeConfig(), progress)
    measured = given_batches(held_out)
    return quantize_on(model, batches, measured, config or QuantizeConfig(), progress)


def _halves(batches: Sequence[Batch]) -> tuple[Sequence[Batch], Sequence[Batch]]:
    """Every other batch is held out; a single one serves for both."""
    return (batches[::2], batches[1::2]) if len(batches) > 1 else (batches, batches)


def quantize_on(
    model: nn.Module,
    calibration: Batches,
    held_out: Batches,
    config: QuantizeConfig,
    progress: Progress = silent,
    *,
    state_file: Path | None = None,
    resume: bool = False,
) -> tuple[nn.Module, Report]:
    """The same with batches that are made when they are asked for.

    Args:
        model: The model.
        calibration: To calibrate and to search on.
        held_out: For the verdict, and nothing else.
        config: The method and the budget.
        progress: Told how far the work has come.
        state_file: Where a search keeps what it has found out; None to keep nothing.
        resume: Go on from what is there.

    Raises:
        InputError: The model cannot be quantized or measured, or there is no search to go on with.
        GateError: No layer is faster when quantized, and size alone was not asked for.
    """
    clock = Clock(config.time_budget)
    original = copy_sharing_tensors(model).eval()
    # A model or data that do not fit are told before any work is done.
    plan_layers(original)
    fitting_metric(original, next(iter(calibration)), config.metric)
    session = begin(
        original, calibration, config, clock, progress, state_file=state_file, resume=resume
    )
    methods = METHODS if config.method == "auto" else (config.method,)
    attempts = try_methods(
        methods, lambda method: attempt(method, original, calibration, config, session), session
    )
    best = best_of(attempts, smallest=config.smallest)
    quantized = best.quantized
    searched = clock.spent()
    comparison = compare(original, quantized.model, held_out, progress, wanted=config.metric)
    quality = judge(comparison, max_drop=config.max_drop, seed=config.seed)
    session.state.remove()
    report = Report(
        method=best.method,
        architecture=type(model).__name__,
        layers=quantized.layers,
        left_alone=quantized.left_alone,
        sizes=Sizes(before=tensor_bytes(original), after=tensor_bytes(quantized.model)),
        quality=quality,
        timing=Timing.of(comparison, clock.spent()),
        search=search_report(attempts, best, searched),
        vnni=has_vnni(),
        worst=comparison.worst,
        bits=config.bits if best.method == "weight_only" else 8,
    )
    return quantized.model, report
