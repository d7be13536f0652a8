"""INT8 after moving what is hard to round from activations to weights.

SmoothQuant: Xiao et al., SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
Language Models, 2022. A feature ``j`` of what a norm gives is divided by
``max|x_j|**a / max|w_j|**(1 - a)``, and the weights that meet it are multiplied with it. Then
activations are rounded as they run, or by calibrated ranges.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.progress import Progress
from deepseek.quantization.apply import as_linear, plan_layers
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.methods.dynamic_range import dynamic_range
from deepseek.quantization.methods.folds import find_folds, folded_copy
from deepseek.quantization.methods.method import Method, Quantized
from deepseek.quantization.methods.observed import stream_inputs
from deepseek.quantization.methods.static import static

__all__ = ["smooth", "smoothed_copy", "smoothing_scales"]

_THEN: Mapping[str, Method] = {"dynamic": dynamic_range, "static": static}
_LEAST = 1e-5


def smooth(
    model: nn.Module, calibration: Batches, config: QuantizeConfig, progress: Progress
) -> Quantized:
    """Smooth what norms feed, then quantize every linear layer; see ``Method``.

    Raises:
        InputError: No norm of the model feeds linear layers alone.
    """
    return _THEN[config.activations](
        smoothed_copy(model, calibration, config.smoothing, progress), calibration, config, progress
    )


def smoothed_copy(
    model: nn.Module, calibration: Batches, share: float, progress: Progress
) -> nn.Module:
    """A copy in floating point whose scales have moved from norms into weights.

    Args:
        model: In eval mode.
        calibration: What it is run on.
        share: How much of the difficulty moves to the weights, 0 to 1.
        progress: Told how far it has come.

    Raises:
        InputError: No norm of the model feeds linear layers alone.
    """
    plan = plan_layers(model)
    folds = find_folds(model, plan.quantized, next(iter(calibration)))
    if not folds:
        raise InputError(
            "expected norms that feed linear layers and nothing else, "
            f"found none in {type(model).__name__}",
            hint="its norms feed residual sums too: --method dynamic_range or static fits it",
        )
    most: dict[str, Tensor] = {}

    def see(name: str, rows: Tensor) -> None:
        if len(rows):
            found = rows.abs().amax(0)
            most[name] = torch.maximum(most[name], found) if name in most else found

    stream_inputs(model, [fold.layers[0] for fold in folds], calibration, see, progress)
    scales = {
        fold.norm: smoothing_scales(most[fold.layers[0]], _weights(model, fold.layers), share)
        for fold in folds
    }
    return folded_copy(model, folds, scales)


def smoothing_scales(most: Tensor, weights: Sequence[Tensor], share: float) -> Tensor:
    """What features are divided by.

    Args:
        most: The greatest magnitude of each, ``[features]``.
        weights: Of the layers that take them, ``[outputs, features]`` each.
        share: How much of the difficulty moves to the weights, 0 to 1.
    """
    heaviest = torch.stack([weight.float().abs().amax(0) for weight in weights]).amax(0)
    scales = most.clamp(min=_LEAST) ** share / heaviest.clamp(min=_LEAST) ** (1 - share)
    # A feature that is always zero, or meets no weight, is left as it is.
    return torch.where((most > 0) & (heaviest > 0), scales, 1.0)


def _weights(model: nn.Module, names: Sequence[str]) -> list[Tensor]:
    return [as_linear(model.get_submodule(name)).weight.detach() for name in names]
