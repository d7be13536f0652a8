"""Tell the class of a text."""

from collections.abc import Mapping

import torch

from deepseek.training.tasks.task import Task, Vocabulary, attention_of

__all__ = ["sequence_classification"]


def sequence_classification(_vocabulary: Vocabulary | None, _seed: int) -> Task:
    """The task of models that read a text and name its class."""
    return Task(
        name="sequence_classification",
        auto_class="AutoModelForSequenceClassification",
        unit="tokens",
        prepare=_prepare,
    )


def _prepare(
    fields: Mapping[str, torch.Tensor], _places: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    inputs = {"input_ids": fields["tokens"].long(), **attention_of(fields)}
    return inputs, fields["label"].long().flatten()
