"""The tokenizer of a run: read from a folder, or trained on the text itself."""

from collections.abc import Iterable
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from deepseek.errors import InputError
from deepseek.training.tasks.task import Vocabulary

__all__ = ["byte_tokenizer", "read_tokenizer", "train_bpe", "vocabulary_of"]

_END = "<|endoftext|>"
_MASK = "<|mask|>"


def read_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder.

    Raises:
        InputError: There is none.
    """
    if (
        not (Path(folder) / "tokenizer_config.json").exists()
        and not (Path(folder) / "tokenizer.json").exists()
    ):
        raise InputError(f"expected a tokenizer in {folder}, found none")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}: cannot read the tokenizer: {reason[:200]}") from error


def train_bpe(texts: Iterable[str], size: int) -> PreTrainedTokenizerBase:
    """Byte-pair encoding over bytes, of ``size`` tokens, learnt from the texts.

    Raises:
        InputError: The size does not even hold every byte.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    least = len(alphabet) + 2
    if size < least:
        raise InputError(f"expected --vocabulary of at least {least}, got {size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[_END, _MASK],
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrapped(tokenizer)


def byte_tokenizer() -> PreTrainedTokenizerBase:
    """One token a byte, and two that are no byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    symbols = [_END, _MASK, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({symbol: n for n, symbol in enumerate(symbols)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([_END, _MASK])
    return _wrapped(tokenizer)


def vocabulary_of(tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """What a task has to know of a tokenizer."""
    end = tokenizer.eos_token_id
    pad = tokenizer.pad_token_id
    return Vocabulary(
        size=len(tokenizer),
        pad=pad if pad is not None else end if end is not None else 0,
        end=end if end is not None else tokenizer.sep_token_id,
        mask=tokenizer.mask_token_id,
        special=tuple(tokenizer.all_special_ids),
    )


def _wrapped(tokenizer: object) -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=_END,
        eos_token=_END,
        pad_token=_END,
        mask_token=_MASK,
    )
