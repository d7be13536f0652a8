"""What a task is: records in, inputs and labels out.

Every task here is a choice among classes, for each token or for each record, so that one loss
serves them all: cross-entropy over the labels that are not ``IGNORED``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

__all__ = ["IGNORED", "Batch", "Task", "Vocabulary", "attention_of"]

# B records, T tokens, C classes

IGNORED = -100


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """What a task has to know of a tokenizer.

    Attributes:
        size: Number of tokens.
        pad: The token that fills short records.
        end: The token between documents, where there is one.
        mask: The token that hides another, where the tokenizer has one.
        special: Tokens that are never hidden.
    """

    size: int
    pad: int
    end: int | None = None
    mask: int | None = None
    special: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What one call of the model sees.

    Attributes:
        inputs: Keyword arguments of the model, each (B, ...).
        labels: The right classes, (B,) or (B, T); ``IGNORED`` where none is asked.
        ids: The numbers of the records, (B,).
    """

    inputs: Mapping[str, torch.Tensor]
    labels: torch.Tensor
    ids: torch.Tensor

    def __len__(self) -> int:
        return self.labels.shape[0]

    @property
    def asked(self) -> torch.Tensor:
        """How many labels count, as a scalar."""
        return (self.labels != IGNORED).sum()

    @property
    def units(self) -> int:
        """What rates count: tokens that are no filling, or else records."""
        tokens = self.inputs.get("attention_mask", self.inputs.get("input_ids"))
        if tokens is None:
            return len(self)
        return int(tokens.sum()) if "attention_mask" in self.inputs else tokens.numel()

    def cut(self, parts: int) -> list["Batch"]:
        """The batch in ``parts`` parts of nearly equal size, in order."""
        names = list(self.inputs)
        columns = zip(*(self.inputs[name].tensor_split(parts) for name in names), strict=True)
        return [
            Batch(inputs=dict(zip(names, column, strict=True)), labels=labels, ids=ids)
            for column, labels, ids in zip(
                columns, self.labels.tensor_split(parts), self.ids.tensor_split(parts), strict=True
            )
        ]

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; itself where it lies there already."""
        if self.labels.device == device:
            return self
        return Batch(
            inputs={name: tensor.to(device) for name, tensor in self.inputs.items()},
            labels=self.labels.to(device),
            ids=self.ids,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One kind of thing to learn.

    Attributes:
        name: As in the configuration.
        auto_class: The class of transformers that builds models for it.
        unit: What is counted in rates.
        prepare: From the fields of records, each (B, ...), and their places in the stream, (B,),
            to inputs and labels. What is random depends on the place alone.
    """

    name: str
    auto_class: str
    unit: str
    prepare: Callable[
        [Mapping[str, torch.Tensor], torch.Tensor], tuple[dict[str, torch.Tensor], torch.Tensor]
    ]


def attention_of(fields: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The mask of tokens that are no filling, (B, T), where records were filled up at all.

    Args:
        fields: ``tokens`` (B, T), and ``length`` (B,) where they are not all as long.
    """
    if "length" not in fields:
        return {}
    columns = torch.arange(fields["tokens"].shape[1])
    return {"attention_mask": (columns < fields["length"].unsqueeze(1)).long()}
