"""Predict hidden tokens from those around them, as BERT does (Devlin et al., 2018)."""

from collections.abc import Mapping

import torch

from deepseek.errors import InputError
from deepseek.training.tasks.task import IGNORED, Task, Vocabulary, attention_of

__all__ = ["masked_lm"]

# B records, T tokens

_ASKED = 0.15
_HIDDEN = 0.8
_SWAPPED = 0.1


def masked_lm(vocabulary: Vocabulary | None, seed: int) -> Task:
    """The task of language models that read in both directions.

    Of the tokens, 15 % are asked for: of these 80 % are hidden, 10 % are swapped for any other, and
    10 % stay as they are. Which ones depends on the seed and on the record's place in the stream
    alone.

    Raises:
        InputError: The tokenizer has no token that hides others.
    """
    if vocabulary is None or vocabulary.mask is None:
        raise InputError(
            "expected a tokenizer with a mask token for masked_lm, found none",
            hint="--tokenizer bpe or bytes has one",
        )
    known, mask = vocabulary, vocabulary.mask
    special = torch.tensor(sorted({*known.special, known.pad}))

    def prepare(
        fields: Mapping[str, torch.Tensor], places: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        tokens = fields["tokens"].long()
        draws = torch.stack([_draws(seed, place, tokens.shape[1]) for place in places.tolist()])
        chance, fate, others = draws.unbind(1)
        asked = (chance < _ASKED) & ~torch.isin(tokens, special)
        labels = tokens.masked_fill(~asked, IGNORED)
        hidden = asked & (fate < _HIDDEN)
        swapped = asked & (fate >= _HIDDEN) & (fate < _HIDDEN + _SWAPPED)
        seen = torch.where(swapped, (others * known.size).long(), tokens)
        inputs = {"input_ids": seen.masked_fill(hidden, mask)}
        return {**inputs, **attention_of(fields)}, labels

    return Task(name="masked_lm", auto_class="AutoModelForMaskedLM", unit="tokens", prepare=prepare)


def _draws(seed: int, place: int, length: int) -> torch.Tensor:
    """Three numbers in [0, 1) for every token of the record at a place, (3, T)."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + place)
    return torch.rand(3, length, generator=generator)
