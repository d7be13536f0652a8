"""How texts become tokens: as bytes, or by a tokenizer that came with a model."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError

__all__ = ["BYTES", "TOKENIZER_FILES", "Tokenizer", "load_tokenizer"]

BYTES = "bytes"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                   "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
                   "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")  # fmt: skip
_END_TOKENS = ("eos_token", "sep_token")

Tokens = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokenizer:
    """Texts in, numbers out.

    Attributes:
        name: ``bytes``, or the folder or file it was read from.
        vocabulary: One more than the largest token.
        end_token: The token that ends a text, as text; None where there is none.
        end: Its number.
        fingerprint: The same for the same tokenizer.
        encode: Texts to tokens.
        files: What a copy of it consists of.
    """

    name: str
    vocabulary: int
    end_token: str | None
    end: int | None
    fingerprint: str
    encode: Callable[[Sequence[str]], list[Tokens]]
    files: tuple[Path, ...] = ()


@lru_cache(maxsize=2)
def load_tokenizer(
    name: str, *, marks: bool = False, max_length: int | None = None, end_token: str | None = None
) -> Tokenizer:
    """Load the tokenizer that a user named.

    Args:
        name: ``bytes``, a ``tokenizer.json``, or a folder with one, or with what transformers
            makes a tokenizer from.
        marks: Put the tokens around a text that its model was trained with, such as ``[CLS]``.
        max_length: Cut texts to so many tokens, the marks included.
        end_token: The token that ends a text, instead of the tokenizer's own; ``none`` for none.

    Raises:
        InputError: There is no tokenizer, it cannot be read, or it has no such token.
    """
    if name == BYTES and not Path(name).exists():
        return _bytes(max_length, end_token)
    path = Path(name)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file() and not path.is_dir():
        raise InputError(
            f"expected a tokenizer at {path}, found nothing",
            hint=f"name a folder with a tokenizer.json, or {BYTES}",
        )
    load = _from_json if file.is_file() else _from_transformers
    return load(path, file, marks, max_length, end_token)


def _bytes(max_length: int | None, end_token: str | None) -> Tokenizer:
    if end_token not in (None, "none"):
        raise InputError(
            f"expected --end_token none with the tokenizer {BYTES}, got {end_token!r}",
            hint="by default the number 256, which is no byte, ends a text",
        )

    def encode(texts: Sequence[str]) -> list[Tokens]:
        encoded = (text.encode("utf-8", "replace")[:max_length] for text in texts)
        return [np.frombuffer(data, np.uint8).astype(np.int64) for data in encoded]

    ends = end_token is None
    return Tokenizer(
        name=BYTES,
        vocabulary=257 if ends else 256,
        end_token="<end>" if ends else None,
        end=256 if ends else None,
        fingerprint=BYTES,
        encode=encode,
    )


def _from_json(
    path: Path, file: Path, marks: bool, max_length: int | None, end_token: str | None
) -> Tokenizer:
    from tokenizers import Tokenizer as Fast

    try:
        fast = Fast.from_file(str(file))
    except Exception as error:
        raise InputError(f"{file}: expected a tokenizer, found {error}") from error
    fast.no_padding()
    fast.no_truncation()
    if max_length is not None:
        fast.enable_truncation(max_length)

    def encode(texts: Sequence[str]) -> list[Tokens]:
        found = fast.encode_batch_fast([_sound(t) for t in texts], add_special_tokens=marks)
        return [np.array(one.ids, np.int64) for one in found]

    folder = file.parent
    word = _end_token(folder, end_token)
    return Tokenizer(
        name=str(path),
        vocabulary=max(fast.get_vocab(with_added_tokens=True).values(), default=0) + 1,
        end_token=word,
        end=_number(word, fast.token_to_id, file),
        fingerprint=_fingerprint([file]),
        encode=encode,
        files=tuple(folder / name for name in TOKENIZER_FILES if (folder / name).is_file()),
    )


def _from_transformers(
    path: Path, file: Path, marks: bool, max_length: int | None, end_token: str | None
) -> Tokenizer:
    """A tokenizer of transformers that has no ``tokenizer.json`` yet."""
    files = tuple(path / name for name in TOKENIZER_FILES if (path / name).is_file())
    if not files:
        raise InputError(f"expected {file.name} or the files of a tokenizer in {path}, found none")
    from transformers import AutoTokenizer

    try:
        slow: Any = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:
        raise InputError(f"{path}: expected a tokenizer, found {error}") from error

    def encode(texts: Sequence[str]) -> list[Tokens]:
        found = slow(
            [_sound(text) for text in texts],
            add_special_tokens=marks,
            truncation=max_length is not None,
            max_length=max_length,
            verbose=False,
        )["input_ids"]
        return [np.array(one, np.int64) for one in found]

    word = _end_token(path, end_token)
    vocabulary = slow.get_vocab()
    return Tokenizer(
        name=str(path),
        vocabulary=max(vocabulary.values(), default=0) + 1,
        end_token=word,
        end=_number(word, vocabulary.get, path),
        fingerprint=_fingerprint(files),
        encode=encode,
        files=files,
    )


def _sound(text: str) -> str:
    """The text with anything that is no character, such as half a surrogate pair, replaced."""
    return text.encode("utf-8", "replace").decode()


def _end_token(folder: Path, asked: str | None) -> str | None:
    if asked is not None:
        return None if asked == "none" else asked
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        for key in _END_TOKENS if isinstance(settings, dict) else ():
            token = settings.get(key)
            word = token.get("content") if isinstance(token, dict) else token
            if isinstance(word, str):
                return word
    return None


def _number(word: str | None, find: Callable[[str], int | None], path: Path) -> int | None:
    number = None if word is None else find(word)
    if word is not None and number is None:
        raise InputError(f"{path}: expected the end token {word!r} in the vocabulary, found none")
    return number


def _fingerprint(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
