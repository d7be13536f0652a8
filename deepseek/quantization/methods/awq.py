"""Scales that spare the weights which meet strong activations.

AWQ: Lin et al., AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration,
2023. A feature is scaled by a power of its mean magnitude; of a grid of powers the one is taken
that changes the outputs of the layers least. A scale moves into the norm before, where that feeds
these layers alone; the other layers are left without.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from deepseek.progress import Progress
from deepseek.quantization.apply import as_linear
from deepseek.quantization.batches import Batches
from deepseek.quantization.methods.folds import find_folds, folded_copy
from deepseek.quantization.methods.hessian import Moments, within_memory
from deepseek.quantization.methods.observed import stream_inputs
from deepseek.quantization.methods.rounding import Form, nearest

__all__ = ["best_scale", "scaled_copy"]

_POWERS = 20
_LEAST = 1e-4


def scaled_copy(
    model: nn.Module, names: Sequence[str], calibration: Batches, form: Form, progress: Progress
) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """A copy whose norms and weights are scaled, and how much each input of a layer counts.

    Args:
        model: In floating point.
        names: Its linear layers that will be rounded.
        calibration: What the model is run on.
        form: Of the integers to come.
        progress: Told how far it has come.

    Returns:
        The copy, and by layer the mean square of its scaled inputs, ``[in_features]``.
    """
    folds = find_folds(model, names, next(iter(calibration)))
    leaders = {fold.layers[0]: fold for fold in folds}
    scales: dict[str, Tensor] = {}
    importance: dict[str, Tensor] = {}
    followers = {name for fold in folds for name in fold.layers[1:]}
    for some in within_memory(model, [name for name in names if name not in followers]):
        moments = {name: Moments(as_linear(model.get_submodule(name)).in_features) for name in some}

        def see(name: str, rows: Tensor, moments: dict[str, Moments] = moments) -> None:
            moments[name].add(rows)

        stream_inputs(model, some, calibration, see, progress)
        for name, found in moments.items():
            fold = leaders.get(name)
            importance[name] = found.second.diagonal().clone()
            if fold is not None:
                weights = [as_linear(model.get_submodule(n)).weight.detach() for n in fold.layers]
                scale = scales[fold.norm] = best_scale(weights, found, form)
                for layer in fold.layers:
                    importance[layer] = found.second.diagonal() / scale.square()
    return folded_copy(model, folds, scales), importance


def best_scale(weights: Sequence[Tensor], moments: Moments, form: Form) -> Tensor:
    """What the weights of each feature are multiplied with before they are rounded.

    Args:
        weights: Of the layers that take the same inputs, ``[outputs, features]`` each.
        moments: Of these inputs.
        form: Of the integers.
    """
    best, least = torch.ones(len(moments.size)), float("inf")
    for step in range(_POWERS):
        scale = moments.size.clamp(min=_LEAST) ** (step / _POWERS)
        scale = scale / (scale.max() * scale.min()).sqrt()
        error = sum(
            moments.error(nearest(weight * scale, form).numbers() / scale - weight)
            for weight in weights
        )
        if error < least:
            best, least = scale, error
    return best
