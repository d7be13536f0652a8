"""From what the user named to packed records, once: later runs find them in the cache."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

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

__all__ = ["prepare"]


def prepare(config: TrainConfig, progress: Progress) -> Prepared:
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
    vocabulary = vocabulary_of(read_tokenizer(str(place / "tokenizer")))
    every = round(1 / config.eval_share)
    return Prepared(
        train=RecordRange(path=place / "records", every=every),
        held_out=RecordRange(path=place / "records", every=every, held_out=True),
        tokenizer=place / "tokenizer",
        vocabulary=vocabulary,
        settings={
            "vocab_size": vocabulary.size,
            "bos_token_id": vocabulary.end,
            "eos_token_id": vocabulary.end,
            "pad_token_id": vocabulary.pad,
        },
    )


def _tokenizer(config: TrainConfig, texts: Sequence[str]) -> PreTrainedTokenizerBase:
    match config.tokenizer:
        case None | "bpe":
            return train_bpe(texts, config.vocabulary)
        case "bytes":
            return byte_tokenizer()
        case folder:
            return read_tokenizer(folder)
