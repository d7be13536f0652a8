"""A model in memory from a checkpoint: architecture, weights and tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.open import open_checkpoint

__all__ = ["LoadedModel", "load", "load_model"]


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
        source: A checkpoint file or folder.
        config: A ``config.json`` to use instead of the one beside the weights.
        allow_globals: Names (``module.name``) a pickle may mention besides torch's own.
        tokenizer: A folder with the tokenizer.

    Raises:
        InputError: The weights cannot be read, or do not fit the architecture.
    """
    checkpoint = open_checkpoint(source, allow_globals=allow_globals, config=config)
    if checkpoint.config is None:
        raise InputError(f"{source}: no config.json", hint="name one with --config")
    settings = CONFIG_MAPPING[checkpoint.config["model_type"]].from_dict(dict(checkpoint.config))
    architecture = (settings.architectures or ["AutoModel"])[0]
    model = getattr(transformers, architecture)(settings)
    state = {name: checkpoint.read(name) for name in checkpoint.infos}
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    if missing:
        raise InputError(f"{source}: {len(missing)} tensors are missing: {missing[:3]}")
    if [name for name in unexpected if not name.endswith("position_ids")]:
        raise InputError(f"{source}: {len(unexpected)} tensors are not expected: {unexpected[:3]}")
    model.tie_weights()
    return LoadedModel(
        model=model.eval(),
        config=settings,
        architecture=architecture,
        tokenizer=_tokenizer(tokenizer or checkpoint.files[0].parent),
        checkpoint=checkpoint,
    )


def load(source: str | Path) -> torch.nn.Module:
    """The module at ``source``, in eval mode; ``load_model`` says more about it."""
    return load_model(source).model


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    if not (folder / "tokenizer.json").exists():
        return None
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)
