"""The tokenizer that lies beside a model."""

from pathlib import Path

from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from deepseek.errors import InputError
from deepseek.formats.damage import reason
from deepseek.formats.quiet import quiet

__all__ = ["load_tokenizer"]

_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def load_tokenizer(folder: Path, config: PretrainedConfig) -> PreTrainedTokenizerBase | None:
    """The tokenizer in a folder; None where there is none.

    Args:
        folder: Where its files lie.
        config: Of the model, which tells the kind of tokenizer where the files do not.

    Raises:
        InputError: Its files are damaged, or of a tokenizer that brings its own code.
    """
    if not any((folder / name).is_file() for name in _FILES):
        return None
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, config=config, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # noqa: BLE001 - its parsers raise anything on damaged files
        raise InputError(f"the tokenizer in {folder} cannot be loaded: {reason(error)}") from None
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer
