"""Weights to integers in groups: to the nearest, and with errors made up for (GPTQ).

GPTQ: Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers, 2022. Columns are rounded one after the other, those that meet the strongest
activations first; what a column loses is made up for in those still to come, in the proportion
that the inverse of the Hessian tells. Scales are fixed before, from the weights as they lie, so
that the order leaves no trace in what is stored.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from deepseek.nn.groups import QuantizedWeight, quantize_groups

__all__ = ["Form", "clipped", "gptq", "nearest"]

_RATIOS = torch.linspace(1.0, 0.65, 15).tolist()  # of the range of a group that are tried
_BLOCK = 128  # columns between two updates of all that are left
_DAMPING = 0.01  # of the mean of the diagonal, as in the paper


@dataclass(frozen=True, slots=True)
class Form:
    """The form of the integers: bits, and weights that share a scale."""

    bits: int
    group_size: int

    @property
    def low(self) -> int:
        """The least integer."""
        return -8 if self.bits == 4 else -127

    @property
    def high(self) -> int:
        """The greatest integer."""
        return 7 if self.bits == 4 else 127

    @property
    def reach(self) -> float:
        """Steps from zero to the greatest weight of a group."""
        return (self.high - self.low) / 2


def nearest(weight: Tensor, form: Form) -> QuantizedWeight:
    """Round each weight by itself, over the whole range of its group.

    Args:
        weight: ``[out_features, in_features]``, finite.
        form: Of the integers.
    """
    return quantize_groups(weight, form.bits, form.group_size)


def clipped(weight: Tensor, form: Form, importance: Tensor | None = None) -> QuantizedWeight:
    """Round to the nearest, over the part of each group's range that makes the least error.

    Args:
        weight: ``[out_features, in_features]``, finite.
        form: Of the integers.
        importance: How much the squared error of each column counts, ``[in_features]``.
    """
    n, k = weight.shape
    spare = -k % form.group_size
    groups = pad(weight.float(), (0, spare)).view(n, -1, form.group_size)
    counts = torch.ones(k) if importance is None else importance
    counts = pad(counts, (0, spare)).view(-1, form.group_size)
    most = groups.abs().amax(-1)
    best = torch.full_like(most, torch.inf)
    scales = torch.ones_like(most)
    for ratio in _RATIOS:
        tried = _storable(most * (ratio / form.reach), form)
        error = (_rounded(groups, tried[..., None], form) - groups).square_().mul_(counts).sum(-1)
        better = error < best
        best = torch.where(better, error, best)
        scales = torch.where(better, tried, scales)
    steps = (groups / scales[..., None]).round_().clamp_(form.low, form.high)
    return QuantizedWeight(
        integers=steps.to(torch.int8).flatten(1)[:, :k].contiguous(),
        scales=scales,
        zeros=None,
        group_size=form.group_size,
    )


def gptq(weight: Tensor, form: Form, hessian: Tensor) -> QuantizedWeight:
    """Round with errors made up for.

    Args:
        weight: ``[out_features, in_features]``, finite.
        form: Of the integers.
        hessian: ``[in_features, in_features]``; its scale does not matter.
    """
    diagonal = hessian.diagonal()
    start = clipped(weight, form, diagonal)
    order = diagonal.argsort(descending=True)
    scales = start.scales.repeat_interleave(form.group_size, dim=1)[:, order]
    left = weight.float()[:, order]
    integers = torch.empty(weight.shape, dtype=torch.int8)
    turned = _inverse_factor(hessian[order][:, order])
    columns = weight.shape[1]
    for first in range(0, columns, _BLOCK):
        block = slice(first, min(first + _BLOCK, columns))
        rounded, errors = _one_block(left[:, block], scales[:, block], turned[block, block], form)
        integers[:, order[block]] = rounded
        left[:, block.stop :] -= errors @ turned[block, block.stop :]
    return replace(start, integers=integers)


def _one_block(left: Tensor, scales: Tensor, factor: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """Round the columns of a block; their integers and their errors in units of the factor."""
    left = left.t().contiguous()  # columns are rows here: they are read one by one
    scales = scales.t().contiguous()
    integers = torch.empty(left.shape, dtype=torch.int8)
    errors = torch.empty_like(left)
    for column, weights in enumerate(left):
        scale = scales[column]
        steps = (weights / scale).round_().clamp_(form.low, form.high)
        integers[column] = steps.to(torch.int8)
        errors[column] = (weights - steps * scale) / factor[column, column]
        if column + 1 < len(left):
            left[column + 1 :].addr_(factor[column, column + 1 :], errors[column], alpha=-1)
    return integers.t(), errors.t()


def _inverse_factor(hessian: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse, damped until there is one."""
    diagonal = hessian.diagonal()
    damping = _DAMPING * float(diagonal.mean()) or 1.0
    while True:
        damped = hessian + damping * torch.eye(len(hessian))
        factor, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            turned: Tensor
            turned, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(factor), upper=True)
            if not failed:
                return turned
        damping *= 10


def _rounded(groups: Tensor, scales: Tensor, form: Form) -> Tensor:
    return (groups / scales).round_().clamp_(form.low, form.high).mul_(scales)


def _storable(scales: Tensor, form: Form) -> Tensor:
    """Scales as the kernels keep them, none zero."""
    kept = scales.bfloat16() if form.bits == 4 else scales
    return torch.where(kept == 0, torch.finfo(kept.dtype).tiny, kept).float()
