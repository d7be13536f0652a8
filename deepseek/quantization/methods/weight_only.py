"""Weights alone of 8 or 4 bits, a scale for each group of them; activations stay as they are."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from deepseek.nn.grouped_linear import GroupedLinear
from deepseek.progress import Progress
from deepseek.quantization.apply import as_linear, plan_layers, quantized_copy
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.inspection import input_ranks
from deepseek.quantization.methods.awq import scaled_copy
from deepseek.quantization.methods.hessian import Moments, within_memory
from deepseek.quantization.methods.method import Quantized, described
from deepseek.quantization.methods.observed import stream_inputs
from deepseek.quantization.methods.rounding import Form, clipped, gptq, nearest

__all__ = ["weight_only"]


def weight_only(
    model: nn.Module, calibration: Batches, config: QuantizeConfig, progress: Progress
) -> Quantized:
    """Quantize the weights of every linear layer; see ``Method``."""
    plan = plan_layers(model)
    form = Form(config.bits, config.group_size)
    ranks = input_ranks(model, plan.quantized, next(iter(calibration)))
    if config.rounding == "gptq":
        result = _by_gptq(model, plan.quantized, calibration, form, progress)
    elif config.rounding == "awq":
        scaled, importance = scaled_copy(model, plan.quantized, calibration, form, progress)
        result = _to_nearest(scaled, plan.quantized, form, progress, importance)
    else:
        result = _to_nearest(model, plan.quantized, form, progress)
    return Quantized(result, described(model, plan.quantized, ranks), plan.left_alone)


def _to_nearest(
    model: nn.Module,
    names: Sequence[str],
    form: Form,
    progress: Progress,
    importance: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    def make(name: str, linear: nn.Linear) -> nn.Module:
        weight = linear.weight.detach()
        if importance is None:
            made = nearest(weight, form)
        else:
            made = clipped(weight, form, importance.get(name))
        return GroupedLinear.from_quantized(made, form.bits, linear)

    return quantized_copy(model, names, progress, make)


def _by_gptq(
    model: nn.Module, names: Sequence[str], calibration: Batches, form: Form, progress: Progress
) -> nn.Module:
    """Some layers at a time, those behind on what the rounded ones before them give."""
    result = model
    for some in within_memory(model, names):
        moments = {name: Moments(as_linear(model.get_submodule(name)).in_features) for name in some}

        def see(name: str, rows: Tensor, moments: dict[str, Moments] = moments) -> None:
            moments[name].add(rows)

        def make(name: str, linear: nn.Linear, moments: dict[str, Moments] = moments) -> nn.Module:
            found = moments[name]
            weight = linear.weight.detach()
            # A layer that no calibration text went through tells nothing of its inputs.
            made = gptq(weight, form, found.second) if found.count else nearest(weight, form)
            return GroupedLinear.from_quantized(made, form.bits, linear)

        stream_inputs(result, some, calibration, see, progress)
        result = quantized_copy(result, some, progress, make)
    return result
