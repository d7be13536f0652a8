"""From what the user named to packed records, once: later runs find them in the cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from deepseek.data.packed.index import INDEX_NAME
from deepseek.outputs import staged
from deepseek.progress import Progress
from deepseek.training.config import TrainConfig
from deepseek.training.data.cache import cache_folder, key_of
from deepseek.training.data.lines import pack_texts
from deepseek.training.data.manual import manual_texts
from deepseek.training.data.prepared import Prepared
from deepseek.training.data.records import RecordRange
from deepseek.training.data.tokenizer import (
    byte_tokenizer,
    read_tokenizer,
    train_bpe,
    vocabulary_of,
)
from deepseek.training.model import ModelSource
from deepseek.training.tasks import Vocabulary

__all__ = ["prepare"]


def prepare(config: TrainConfig, source: ModelSource, progress: Progress) -> Prepared:
    """Packed records of what ``data`` names, or of Python's manual.

    Raises:
        InputError: There is no such data, or too little of it, or it does not suit the task.
    """
    if config.data is not None and (config.data / INDEX_NAME).is_file():
        return _from_packed(config, source)
    texts = manual_texts() if config.data is None else [config.data.read_text(encoding="utf-8")]
    key = key_of(config.tokenizer, config.vocabulary, config.sequence_length, texts)
    place = cache_folder("train") / key
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with staged(place) as folder:
            folder.mkdir()
            tokenizer = _tokenizer(config, texts)
            tokenizer.save_pretrained(folder / "tokenizer")
            pack_texts(
                texts,
                folder / "records",
                tokenizer=tokenizer,
                length=config.sequence_length,
                progress=progress,
            )
    return _described(config, place / "records", place / "tokenizer")


def _from_packed(config: TrainConfig, source: ModelSource) -> Prepared:
    assert config.data is not None
    folder = config.tokenizer or source.weights
    has_tokenizer = folder is not None and (Path(folder) / "tokenizer.json").is_file()
    return _described(config, config.data, Path(str(folder)) if has_tokenizer else None)


def _described(config: TrainConfig, records: Path, tokenizer: Path | None) -> Prepared:
    every = round(1 / config.eval_share) if config.eval_share > 0 else 0
    held_out = RecordRange(path=config.eval_data or records, every=every, held_out=True)
    vocabulary = None if tokenizer is None else vocabulary_of(read_tokenizer(str(tokenizer)))
    return Prepared(
        train=RecordRange(path=records, every=every),
        held_out=held_out,
        longest=config.sequence_length,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        settings={} if vocabulary is None else _settings(vocabulary),
    )


def _settings(vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary.size,
        "bos_token_id": vocabulary.end,
        "eos_token_id": vocabulary.end,
        "pad_token_id": vocabulary.pad,
    }


def _tokenizer(config: TrainConfig, texts: Sequence[str]) -> PreTrainedTokenizerBase:
    match config.tokenizer:
        case None | "bpe":
            return train_bpe(texts, config.vocabulary)
        case "bytes":
            return byte_tokenizer()
        case folder:
            return read_tokenizer(folder)
