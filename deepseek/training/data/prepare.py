"""From what the user named to records on disk, once: later runs find them in the cache."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase

from deepseek.errors import InputError
from deepseek.outputs import staged
from deepseek.progress import Progress
from deepseek.training.config import TrainConfig
from deepseek.training.data.manual import manual_texts
from deepseek.training.data.tokenizer import (
    byte_tokenizer,
    read_tokenizer,
    train_bpe,
    vocabulary_of,
)
from deepseek.training.tasks import Vocabulary

__all__ = ["Prepared", "TokenRecords", "prepare"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Records that are ready to be read by every process.

    Attributes:
        train: What is learnt from.
        held_out: What is judged on.
        tokenizer: The folder of the tokenizer.
        vocabulary: What a task knows of it.
    """

    train: Path
    held_out: Path
    tokenizer: Path
    vocabulary: Vocabulary

    @property
    def model_settings(self) -> dict[str, int]:
        return {"vocab_size": self.vocabulary.size}


@dataclass(frozen=True, slots=True)
class TokenRecords:
    tokens: torch.Tensor

    @classmethod
    def open(cls, path: Path) -> "TokenRecords":
        return cls(load_file(path)["tokens"])

    def __len__(self) -> int:
        return len(self.tokens)

    def gather(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"tokens": self.tokens[ids]}


def prepare(config: TrainConfig, progress: Progress) -> Prepared:
    texts = manual_texts() if config.data is None else [config.data.read_text(encoding="utf-8")]
    key = hashlib.sha256(
        json.dumps([config.tokenizer, config.vocabulary, config.sequence_length, config.eval_share, texts]).encode()
    ).hexdigest()[:16]
    place = cache_folder() / "train" / key
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with staged(place) as folder:
            folder.mkdir()
            tokenizer = _tokenizer(config, texts)
            tokenizer.save_pretrained(folder / "tokenizer")
            records = _records(tokenizer, texts, config.sequence_length)
            held = max(1, round(len(records) * config.eval_share))
            save_file({"tokens": records[:-held].contiguous()}, folder / "train.safetensors")
            save_file({"tokens": records[-held:].contiguous()}, folder / "eval.safetensors")
    return Prepared(
        train=place / "train.safetensors",
        held_out=place / "eval.safetensors",
        tokenizer=place / "tokenizer",
        vocabulary=vocabulary_of(read_tokenizer(str(place / "tokenizer"))),
    )


def cache_folder() -> Path:
    """Where things are kept that can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "deepseek"


def _tokenizer(config: TrainConfig, texts: Sequence[str]) -> PreTrainedTokenizerBase:
    match config.tokenizer:
        case None | "bpe":
            return train_bpe(texts, config.vocabulary)
        case "bytes":
            return byte_tokenizer()
        case folder:
            return read_tokenizer(folder)


def _records(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], length: int
) -> torch.Tensor:
    end = tokenizer.eos_token_id
    stream: list[int] = []
    for text in texts:
        stream += [*tokenizer(text)["input_ids"], end]
    count = len(stream) // length
    if count < 2:
        raise InputError(f"expected text for at least 2 records of {length} tokens, got {count}")
    return torch.tensor(stream[: count * length], dtype=torch.int32).view(count, length)
