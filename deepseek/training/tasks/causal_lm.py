"""Predict the next token."""

from collections.abc import Mapping

import torch

from deepseek.training.tasks.task import IGNORED, Task, Vocabulary

__all__ = ["causal_lm"]


def causal_lm(_vocabulary: Vocabulary | None, _seed: int) -> Task:
    """The task of language models that read from left to right."""
    return Task(
        name="causal_lm", auto_class="AutoModelForCausalLM", unit="tokens", prepare=_prepare
    )


def _prepare(
    fields: Mapping[str, torch.Tensor], _places: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    tokens = fields["tokens"].long()
    labels = torch.full_like(tokens, IGNORED)
    labels[:, :-1] = tokens[:, 1:]
    return {"input_ids": tokens}, labels
