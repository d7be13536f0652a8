"""Batches of model inputs: what both models are shown."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from deepseek.data.sample import Record
from deepseek.errors import InputError

__all__ = ["Batch", "Batches", "TextBatches", "given_batches"]

_LONGEST = 10**6  # tokenizers that know of no limit state one that no integer type holds


@dataclass(frozen=True, slots=True)
class Batch:
    """Keyword arguments of a model, and the classes of the records where they are known.

    Attributes:
        inputs: The arguments; the first dimension of every tensor counts records.
        labels: ``[records]``, or None.
        names: What a person knows each record by: the text, or its file; None where nothing.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor | None = None
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


class Batches(Protocol):
    """Batches that can be counted, and walked through more than once."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int: ...


def given_batches(batches: Iterable[Mapping[str, Tensor]]) -> list[Batch]:
    """Batches as a Python caller has them: mappings of inputs, perhaps with ``labels``.

    Raises:
        InputError: There are none, or one is no mapping of tensors.
    """
    result = []
    for batch in batches:
        if not isinstance(batch, Mapping) or not all(
            isinstance(value, Tensor) for value in batch.values()
        ):
            raise InputError(
                f"expected batches to be mappings of tensors, found {type(batch).__name__}"
            )
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        result.append(Batch(inputs, batch.get("labels")))
    if not result:
        raise InputError("expected batches to calibrate on, found none")
    return result


@dataclass(frozen=True, kw_only=True, slots=True)
class TextBatches:
    """Texts as batches, tokenized when they are asked for; as often as they are.

    Attributes:
        records: The texts, short ones first, so that little is padded.
        labels: Their classes, or the numbers they are labelled with; or None.
        tokenizer: Turns text into tokens.
        model: Says which inputs it takes and how long they may be.
        size: Texts in a batch.
        max_length: Tokens of a text at most; None for what the model takes.
    """

    records: Sequence[Record]
    labels: Sequence[float] | None
    tokenizer: PreTrainedTokenizerBase
    model: nn.Module
    size: int
    max_length: int | None

    def __len__(self) -> int:
        return ceil(len(self.records) / self._size)

    def __iter__(self) -> Iterator[Batch]:
        order = sorted(range(len(self.records)), key=lambda i: len(self.records[i].text))
        for start in range(0, len(order), self._size):
            chosen = order[start : start + self._size]
            labels = None if self.labels is None else torch.tensor([self.labels[i] for i in chosen])
            texts = [self.records[i].text for i in chosen]
            yield Batch(self._inputs(texts), labels, texts)

    @property
    def _size(self) -> int:
        return self.size if self.tokenizer.pad_token is not None else 1

    def _inputs(self, texts: list[str]) -> dict[str, Tensor]:
        encoded = self.tokenizer(
            texts,
            padding=self._size > 1,
            padding_side="right",  # positions then count from the first token of every text
            truncation=True,
            max_length=self._length(),
            return_tensors="pt",
        )
        self._check(encoded["input_ids"])
        taken = inspect.signature(self.model.forward).parameters
        inputs = {name: value for name, value in encoded.items() if name in taken}
        if getattr(self._settings, "is_encoder_decoder", False) and "decoder_input_ids" in taken:
            inputs["decoder_input_ids"] = inputs["input_ids"]
        return inputs

    def _check(self, ids: Tensor) -> None:
        known = getattr(self._settings, "vocab_size", None)
        if known is not None and (largest := int(ids.max())) >= known:
            raise InputError(
                f"expected tokens below {known}, the vocabulary of the model; "
                f"the tokenizer gives {largest}",
                hint="--tokenizer names the one that belongs to the model",
            )

    @property
    def _settings(self) -> Any:
        return getattr(self.model, "config", None)

    def _length(self) -> int:
        """What was asked for, but no more than the model and the tokenizer take."""
        limits = (
            self.max_length,
            getattr(self._settings, "max_position_embeddings", None),
            _positions(self.model),
            self.tokenizer.model_max_length,
        )
        return min([_LONGEST, *(limit for limit in limits if limit is not None)])


def _positions(model: nn.Module) -> int | None:
    """The tokens that a table of positions has room for, less those it keeps for padding."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            kept = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - kept
    return None
