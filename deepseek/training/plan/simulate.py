"""What a pass through a model, or through one stage of it, holds in memory."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from deepseek.training.loss import logits_of, summed_loss
from deepseek.training.plan.ledger import Ledger
from deepseek.training.precision import autocast

__all__ = ["Pass", "simulate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """Bytes that one micro-batch needs besides weights and their gradients.

    Attributes:
        kept: What lives from the forward to the backward pass.
        peak: The most that lives at once.
        output: What leaves the module.
    """

    kept: int
    peak: int
    output: torch.Tensor


def simulate(
    module: nn.Module,
    ledger: Ledger,
    inputs: Mapping[str, torch.Tensor],
    *,
    labels: torch.Tensor | None,
    hidden: torch.Tensor | None = None,
    precision: str = "fp32",
) -> Pass:
    """Forward and backward on fake tensors, inside the ledger.

    Args:
        module: The model, or a stage of it, on fake tensors.
        ledger: What counts.
        inputs: Keyword arguments of the model.
        labels: What the last stage compares with; None for other stages.
        hidden: What the stage before hands over.
        precision: What matrix products compute in.
    """
    arguments = () if hidden is None else (hidden.detach().requires_grad_(),)
    before = ledger.mark()
    with autocast(precision, torch.device("cpu")):
        output = module(*arguments, **inputs)
        found = logits_of(output)
        del output
    leaves = found.detach()
    value = found if labels is None else summed_loss(found, labels)
    del found
    gc.collect()
    kept = ledger.held - before
    if labels is None:
        value.backward(torch.empty_like(value))  # type: ignore[no-untyped-call]
    else:
        value.backward()  # type: ignore[no-untyped-call]
    del value
    gc.collect()
    gradients = sum(p.grad.nbytes for p in module.parameters() if p.grad is not None)
    peak = ledger.peak - before - gradients
    for parameter in module.parameters():
        parameter.grad = None
    return Pass(kept=kept, peak=max(peak, kept), output=leaves)
