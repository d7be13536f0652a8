"""Write a Hugging Face folder: configuration, weights, tokenizer; ``from_pretrained`` loads it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.described import described
from deepseek.formats.parity import Parity, compare_tensors, named
from deepseek.formats.quiet import quiet
from deepseek.formats.readers.folder import read_folder
from deepseek.formats.writers.job import Job, PlannedFile, planned
from deepseek.formats.writers.shards import index_of, oversized, plan_files, write_files
from deepseek.progress import Progress

__all__ = ["HuggingFaceWriter"]

_SHARD = 5 * 10**9
_COMPANIONS = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model",
    "sentencepiece.bpe.model", "chat_template.jinja", "chat_template.json",
    "generation_config.json", "preprocessor_config.json", "processor_config.json",
    "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json",
    "[0-9]_*/config.json", "[0-9]_*/model.safetensors",
)  # fmt: skip


class HuggingFaceWriter:
    """Writes a model folder.

    Raises:
        InputError: The source has no configuration and is not recognised, or one of an architecture
            that transformers does not have; ``--tokenizer`` names a folder without one.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._source = described(job.checkpoint)
        self._config = _configuration(self._source, job.dtype)
        self._class = _model_class(self._config)
        self._limit = job.config.shard_size or _SHARD
        self._checkpoint = _held_as_loaded(self._source, self._class)
        self._weights = plan_files(
            self._checkpoint, job.dtype, limit=self._limit, name="model.safetensors"
        )
        self._texts = {"config.json": _json(self._config), **index_of(self._weights)}
        self._copies = _companions(job.config.tokenizer, job.checkpoint)

    @property
    def files(self) -> Sequence[PlannedFile]:
        """The weights, the configuration and what is copied."""
        return (
            *self._weights,
            *(planned(name, text) for name, text in self._texts.items()),
            *(
                PlannedFile(name=name, bytes=path.stat().st_size, tensors={})
                for name, path in self._copies.items()
            ),
        )

    @property
    def notes(self) -> Sequence[str]:
        """What the configuration was taken from; tensors that are larger than a shard may be."""
        told = self._source.notes[len(self._job.checkpoint.notes) :]
        return (*told, *oversized(self._weights, self._limit))

    def write(self, place: Path, progress: Progress) -> None:
        """Write the folder."""
        place.mkdir()
        write_files(place, self._weights, self._checkpoint, self._job.dtype, progress)
        for name, text in self._texts.items():
            (place / name).write_bytes(text)
        for name, path in self._copies.items():
            (place / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, place / name)

    def check(self, place: Path, progress: Progress) -> Parity:
        """Every tensor bit for bit; then transformers loads the folder and misses nothing."""
        written = read_folder(place)
        parity = compare_tensors(self._source, written, self._job.dtype, progress)
        progress("loading with transformers", 0, 1)
        with quiet():
            misses, notes = _load(self._class, place)
        progress("loading with transformers", 1, 1)
        return replace(
            parity,
            architecture=self._class.__name__,
            misses=(*parity.misses, *misses),
            notes=(*parity.notes, *notes),
        )


def _configuration(checkpoint: Checkpoint, dtype: torch.dtype | None) -> dict[str, Any]:
    config = dict(checkpoint.config or {})
    if dtype is not None:
        config.pop("torch_dtype", None)
        config["dtype"] = str(dtype).removeprefix("torch.")
    return config


def _model_class(config: Mapping[str, Any]) -> Any:
    import transformers

    name = next(iter(config.get("architectures") or ()), None)
    found = getattr(transformers, str(name), None) if name else transformers.AutoModel
    if not hasattr(found, "from_pretrained"):
        raise InputError(
            f"transformers has no architecture {name!r}, which config.json names",
            hint="name another configuration with --model_config, or write safetensors",
        )
    return found


def _held_as_loaded(checkpoint: Checkpoint, model: Any) -> Checkpoint:
    """The checkpoint with shared tensors held under the names that transformers looks for."""
    if not checkpoint.shared:
        return checkpoint
    tied = tuple(getattr(model, "_tied_weights_keys", None) or ())
    groups: dict[str, list[str]] = {}
    for other, kept in checkpoint.shared.items():
        groups.setdefault(kept, [kept]).append(other)
    shared: dict[str, str] = {}
    for names in groups.values():
        holder = next((n for n in names if n not in tied), names[0])
        shared |= {name: holder for name in names if name != holder}
    return replace(checkpoint, shared=shared)


def _companions(tokenizer: Path | None, checkpoint: Checkpoint) -> dict[str, Path]:
    """Files that belong to the model, by their names in the folder; those of the tokenizer win."""
    source = checkpoint.source if checkpoint.source.is_dir() else checkpoint.source.parent
    given = {} if tokenizer is None else _known_files(tokenizer)
    if tokenizer is not None and not given:
        raise InputError(f"expected the files of a tokenizer, found none in {tokenizer}")
    return _known_files(source) | given


def _known_files(folder: Path) -> dict[str, Path]:
    return {
        str(path.relative_to(folder)): path
        for pattern in _COMPANIONS
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }


def _load(model: Any, place: Path) -> tuple[list[str], list[str]]:
    try:
        _, info = model.from_pretrained(
            place,
            output_loading_info=True,
            local_files_only=True,
            dtype="auto",
            ignore_mismatched_sizes=True,
        )
    except (RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
        return [f"transformers cannot load it: {' '.join(str(error).split())}"], []
    found = {
        "finds no tensor for": sorted(info["missing_keys"]),
        "finds another shape for": sorted(name for name, *_ in info["mismatched_keys"]),
    }
    misses = [f"{model.__name__} {what} {named(names)}" for what, names in found.items() if names]
    surplus = sorted(info["unexpected_keys"])
    return misses, [f"{model.__name__} does not use {named(surplus)}"] if surplus else []


def _json(config: Mapping[str, Any]) -> bytes:
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
