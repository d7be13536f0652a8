"""The loss of every task: cross-entropy, summed, so that parts of a batch add up exactly."""

from typing import Any

import torch
from torch.nn import functional

from deepseek.training.tasks.task import IGNORED

__all__ = ["hits", "logits_of", "summed_loss"]

# B records, T tokens, C classes


def logits_of(output: Any) -> torch.Tensor:
    """The logits in what a model returned: a tensor, or an object that has them."""
    logits = output if isinstance(output, torch.Tensor) else output.logits
    assert isinstance(logits, torch.Tensor)
    return logits


def summed_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in float32, summed over the labels that count.

    Args:
        logits: (B, C) or (B, T, C).
        labels: (B,) or (B, T).
    """
    return functional.cross_entropy(
        logits.flatten(0, -2).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def hits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How many labels that count are the likeliest class, as a scalar."""
    return ((logits.argmax(-1) == labels) & (labels != IGNORED)).sum()
