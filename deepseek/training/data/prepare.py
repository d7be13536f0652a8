"""From what the user named to packed records, once: later runs find them in the cache."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from deepseek.data.config import PackConfig
from deepseek.data.packed.dataset import PackedDataset
from deepseek.data.packed.index import INDEX_NAME
from deepseek.data.packing.pack import pack
from deepseek.data.packing.plan import plan_columns
from deepseek.data.packing.sources.open import open_source
from deepseek.data.packing.tokenizers import TOKENIZER_FILES, load_tokenizer
from deepseek.outputs import staged
from deepseek.progress import Progress
from deepseek.training.config import TrainConfig
from deepseek.training.data.cache import cache_folder, key_of
from deepseek.training.data.prepared import Prepared
from deepseek.training.data.records import RecordRange
from deepseek.training.data.settings import check_fields, settings_of
from deepseek.training.data.tokenizer import (
    byte_tokenizer,
    read_tokenizer,
    train_bpe,
    vocabulary_of,
)
from deepseek.training.model import ModelSource

__all__ = ["prepare"]

_SEQUENCES = {"causal_lm", "masked_lm"}


def prepare(config: TrainConfig, source: ModelSource, progress: Progress) -> Prepared:
    """Packed records of what ``data`` names, with the tokenizer that made them.

    Raises:
        InputError: There is no such data, or too little of it, or it does not suit the task.
    """
    named = Path(config.data)
    if is_packed(named):
        records, tokenizer = named, _tokenizer_beside(named, config, source)
    else:
        records, tokenizer = _from_cache(config, source, progress)
    train = PackedDataset(records)
    held_out = records
    every = round(1 / config.eval_share) if config.eval_share > 0 else 0
    if config.eval_data is not None:
        held_out, every = _eval_records(config, tokenizer, train, progress), 0
    check_fields(config.task, train)
    vocabulary = None if tokenizer is None else vocabulary_of(read_tokenizer(str(tokenizer)))
    return Prepared(
        train=RecordRange(path=records, every=every),
        held_out=RecordRange(path=held_out, every=every, held_out=True),
        longest=config.sequence_length,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        settings=settings_of(config.task, train, vocabulary),
    )


def is_packed(path: Path) -> bool:
    """Whether a packed set lies at ``path``."""
    return (path / INDEX_NAME).is_file() or path.suffix == ".packed"


def _from_cache(
    config: TrainConfig, source: ModelSource, progress: Progress
) -> tuple[Path, Path | None]:
    wanted = _pack_config(config, config.data, source)
    place = cache_folder("train") / key_of(config.tokenizer, config.vocabulary, *_marks(wanted))
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with staged(place) as folder:
            folder.mkdir()
            if config.task != "image_classification":
                tokenizer = _make_tokenizer(config, source, wanted)
                tokenizer.save_pretrained(folder / "tokenizer")
                wanted = replace(wanted, tokenizer=str(folder / "tokenizer"))
            pack(replace(wanted, output=folder / "records"), progress=progress)
    has_tokenizer = (place / "tokenizer").is_dir()
    return place / "records", place / "tokenizer" if has_tokenizer else None


def _eval_records(
    config: TrainConfig, tokenizer: Path | None, train: PackedDataset, progress: Progress
) -> Path:
    assert config.eval_data is not None
    if is_packed(Path(config.eval_data)):
        return Path(config.eval_data)
    wanted = replace(
        _pack_config(config, config.eval_data, None),
        tokenizer=str(tokenizer or "bytes"),
        classes=tuple(train.meta.get("classes", ())),
    )
    place = cache_folder("train") / key_of(*_marks(wanted))
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        pack(replace(wanted, output=place), progress=progress)
    return place


def _pack_config(config: TrainConfig, data: str, source: ModelSource | None) -> PackConfig:
    sequences = config.task in _SEQUENCES
    size = getattr(source.config, "image_size", None) if source is not None else None
    return PackConfig(
        source=(data,),
        output=Path("records"),
        pack_length=config.sequence_length if sequences else None,
        max_length=None if sequences else config.sequence_length,
        image_size=config.image_size or (size if isinstance(size, int) else None),
        documents="paragraph" if sequences else "line",
    )


def _marks(config: PackConfig) -> list[Any]:
    """What decides the result of packing, as plain values."""
    source = open_source(config)
    files = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in source.files]
    settings = {key: str(value) for key, value in asdict(config).items()}
    return [source.name, files, settings]


def _make_tokenizer(
    config: TrainConfig, source: ModelSource, wanted: PackConfig
) -> PreTrainedTokenizerBase:
    named = config.tokenizer or source.weights or "bpe"
    if named == "bytes":
        return byte_tokenizer()
    if named == "bpe":
        return train_bpe(_texts(wanted), config.vocabulary)
    return read_tokenizer(named)


def _texts(config: PackConfig) -> Iterator[str]:
    source = open_source(config)
    column = plan_columns(source, config, load_tokenizer("bytes")).columns[0].name
    for item in source.items():
        text = item.values.get(column)
        if isinstance(text, str):
            yield text


def _tokenizer_beside(records: Path, config: TrainConfig, source: ModelSource) -> Path | None:
    """The tokenizer that was named, or that lies in the packed set, or with the model's weights."""
    named = config.tokenizer if config.tokenizer not in (None, "bpe", "bytes") else None
    for folder in (named, records / "tokenizer", source.weights):
        if folder is not None and any((Path(folder) / name).is_file() for name in TOKENIZER_FILES):
            return Path(folder)
    return None
