"""INT8 weights with a scale per channel; activations rounded by a range found beforehand."""

from torch import Tensor, nn

from deepseek.nn.int8_linear import Int8Linear
from deepseek.progress import Progress
from deepseek.quantization.apply import LeftAlone, plan_layers, quantized_copy
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.inspection import input_ranks
from deepseek.quantization.methods.histogram import OBSERVERS, Histogram, scale_and_zero
from deepseek.quantization.methods.method import Quantized, described
from deepseek.quantization.methods.observed import stream_inputs

__all__ = ["static"]


def static(
    model: nn.Module, calibration: Batches, config: QuantizeConfig, progress: Progress
) -> Quantized:
    """Quantize every linear layer that calibration data goes through; see ``Method``."""
    plan = plan_layers(model)
    ranks = input_ranks(model, plan.quantized, next(iter(calibration)))
    seen: dict[str, Histogram] = {}

    def widen(name: str, rows: Tensor) -> None:
        seen.setdefault(name, Histogram()).widen(rows)

    stream_inputs(model, plan.quantized, calibration, widen, progress)
    if config.observer != "minmax":
        stream_inputs(
            model, list(seen), calibration, lambda name, rows: seen[name].count(rows), progress
        )
    observe = OBSERVERS[config.observer]

    def make(name: str, linear: nn.Linear) -> nn.Module:
        return Int8Linear.from_linear(linear, inputs=scale_and_zero(*observe(seen[name])))

    names = [name for name in plan.quantized if name in seen]
    unseen = [
        LeftAlone(name, "no calibration data went through it")
        for name in plan.quantized
        if name not in seen
    ]
    result = quantized_copy(model, names, progress, make)
    return Quantized(result, described(model, names, ranks), [*plan.left_alone, *unseen])
