"""Quantize a model that is in memory, and measure what it lost."""

import time
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from deepseek.progress import Progress, silent
from deepseek.quantization.apply import copy_sharing_tensors
from deepseek.quantization.batches import Batches, given_batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.evaluate import compare
from deepseek.quantization.methods import METHODS
from deepseek.quantization.quality import judge
from deepseek.quantization.report import Report, Sizes, Timing

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
        held_out: Batches to measure on; by default those of ``calibration``.
        progress: Told how far the work has come.

    Returns:
        A quantized copy in eval mode, which shares its other tensors with the model, and the
        report. A loss over the budget is no error here: see ``report.quality.passed``.

    Raises:
        InputError: The model cannot be quantized, or not be measured on these batches.
    """
    batches = given_batches(calibration)
    measured = batches if held_out is None else given_batches(held_out)
    return quantize_on(model, batches, measured, config or QuantizeConfig(), progress)


def quantize_on(
    model: nn.Module,
    calibration: Batches,
    held_out: Batches,
    config: QuantizeConfig,
    progress: Progress = silent,
) -> tuple[nn.Module, Report]:
    """The same with batches that are made when they are asked for."""
    began = time.perf_counter()
    original = copy_sharing_tensors(model).eval()
    quantized = METHODS[config.method](original, calibration, config, progress)
    comparison = compare(original, quantized.model, held_out, progress, wanted=config.metric)
    quality = judge(comparison, max_drop=config.max_drop, seed=config.seed)
    report = Report(
        method=config.method,
        architecture=type(model).__name__,
        layers=quantized.layers,
        left_alone=quantized.left_alone,
        sizes=Sizes(before=_bytes(original), after=_bytes(quantized.model)),
        quality=quality,
        timing=Timing(
            total=time.perf_counter() - began,
            record_before=comparison.seconds_before,
            record_after=comparison.seconds_after,
        ),
    )
    return quantized.model, report


def _bytes(model: nn.Module) -> int:
    """Of all tensors that are stored, shared ones once."""
    tensors = {tensor.data_ptr(): tensor for tensor in model.state_dict().values()}
    return sum(tensor.nbytes for tensor in tensors.values())
