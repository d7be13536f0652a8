"""A model in memory from a checkpoint: architecture, weights and tokenizer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from deepseek.errors import InputError
from deepseek.formats.architectures.configured import configured
from deepseek.formats.architectures.recognise import recognise_by_shapes
from deepseek.formats.architectures.recognised import Recognised
from deepseek.formats.build import build
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.open import open_checkpoint
from deepseek.formats.tokenizers import load_tokenizer

__all__ = ["LoadedModel", "load", "load_model", "model_of", "recognise"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedModel:
    """A model that is ready to run, and how it came to be.

    Attributes:
        model: The module, in eval mode.
        config: Its configuration.
        architecture: The class it was recognised as: ``BertForSequenceClassification``.
        tokenizer: Its tokenizer, where one lies beside it or was given.
        checkpoint: What it was loaded from.
        notes: What had to be assumed.
    """

    model: torch.nn.Module
    config: PretrainedConfig
    architecture: str
    tokenizer: PreTrainedTokenizerBase | None
    checkpoint: Checkpoint
    notes: tuple[str, ...] = ()


def load_model(
    source: str | Path,
    *,
    config: Path | None = None,
    allow_globals: Sequence[str] = (),
    tokenizer: Path | None = None,
) -> LoadedModel:
    """Load the model at ``source``.

    Args:
        source: A checkpoint file or folder, or the name of a model on the Hugging Face hub.
        config: A ``config.json`` to use instead of the one beside the weights. Without any, the
            architecture is recognised from names and shapes.
        allow_globals: Names (``module.name``) that a pickle may mention besides torch's own.
        tokenizer: A folder with the tokenizer, if it does not lie beside the weights.

    Raises:
        InputError: The weights cannot be read, are of no known architecture, or do not fit it.
    """
    checkpoint = open_checkpoint(source, allow_globals=allow_globals, config=config)
    model, recognised = model_of(checkpoint)
    notes = [*checkpoint.notes, *recognised.notes]
    found: PreTrainedTokenizerBase | None = None
    if tokenizer is not None:
        found = load_tokenizer(tokenizer, recognised.config)
        if found is None:
            raise InputError(f"expected a tokenizer in {tokenizer}, found none")
    else:
        path = checkpoint.source
        try:
            found = load_tokenizer(path if path.is_dir() else path.parent, recognised.config)
        except InputError as error:
            notes.append(error.message)
    return LoadedModel(
        model=model,
        config=model.config,
        architecture=recognised.architecture,
        tokenizer=found,
        checkpoint=checkpoint,
        notes=tuple(notes),
    )


def load(source: str | Path) -> torch.nn.Module:
    """The module at ``source``, in eval mode; ``load_model`` says more about it.

    Raises:
        InputError: As ``load_model``.
    """
    return load_model(source).model


def recognise(checkpoint: Checkpoint) -> Recognised:
    """The architecture of a checkpoint: as its configuration says, or as names and shapes show.

    Raises:
        InputError: It is of none that is known.
    """
    return next(_candidates(checkpoint))


def model_of(checkpoint: Checkpoint) -> tuple[PreTrainedModel, Recognised]:
    """The model of a checkpoint that is open already, in eval mode, and what it is.

    Raises:
        InputError: It is of no known architecture, or does not fit the one its configuration says.
    """
    first: InputError | None = None
    for recognised in _candidates(checkpoint):
        try:
            return build(checkpoint, recognised), recognised
        except InputError as error:
            first = first or error
    assert first is not None
    raise first


def _candidates(checkpoint: Checkpoint) -> Iterator[Recognised]:
    if checkpoint.config is None:
        yield recognise_by_shapes(checkpoint)
    else:
        yield from configured(checkpoint, checkpoint.config)
