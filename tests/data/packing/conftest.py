"""Sources of every kind, and a tokenizer of a few words."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

WORDS = ["[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "mat", "dog", "ran"]


@pytest.fixture
def word_tokenizer(tmp_path: Path) -> Path:
    """A folder with a tokenizer whose tokens are words, and which marks both ends of a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(4)  # as models come with one: it is not meant for packing
    folder = tmp_path / "words"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"sep_token": {"content": "[SEP]"}, "eos_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_idx(path: Path, array: NDArray[np.uint8]) -> Path:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_arrow(folder: Path, table: Any, features: Mapping[str, Any], files: int = 2) -> Path:
    """A folder as ``datasets`` writes it."""
    import pyarrow

    folder.mkdir(parents=True)
    names = [f"data-{number:05d}-of-{files:05d}.arrow" for number in range(files)]
    rows = -(-table.num_rows // files)
    for number, name in enumerate(names):
        part = table.slice(number * rows, rows)
        with pyarrow.ipc.new_stream(str(folder / name), table.schema) as stream:
            stream.write_table(part)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": name} for name in names]})
    )
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


@pytest.fixture
def make_jsonl() -> Callable[[Path, Iterable[Mapping[str, Any]]], Path]:
    return jsonl


@pytest.fixture
def make_idx() -> Callable[[Path, NDArray[np.uint8]], Path]:
    return write_idx


@pytest.fixture
def make_arrow() -> Callable[..., Path]:
    return write_arrow
