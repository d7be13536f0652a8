"""Pack a source: read, encode, put in shards, and say what came of it."""

import hashlib
import json
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from deepseek.data.config import PackConfig
from deepseek.data.packed.field import DTYPES
from deepseek.data.packed.index import Index
from deepseek.data.packed.mapping import read_header
from deepseek.data.packed.writer import ShardSeries, write_index
from deepseek.data.packing.encode import Encoder
from deepseek.data.packing.item import Item, Source
from deepseek.data.packing.job import Job, open_job
from deepseek.data.packing.parallel import ordered_map
from deepseek.data.packing.plan import TOKENS, Plan, plan_columns
from deepseek.data.packing.sequences import Place, SequencePacker
from deepseek.data.packing.sources.open import open_source
from deepseek.data.packing.tokenizers import Tokenizer, load_tokenizer
from deepseek.outputs import refuse_existing
from deepseek.progress import Progress, silent
from deepseek.versions import versions

__all__ = ["Packing", "pack"]

_ROWS_AT_ONCE = 256
_BYTES_AT_ONCE = 1 << 20
# What a resumed packing may be told otherwise without its result being another.
_FREE = {"output", "workers", "resume", "overwrite"}

_Records = Generator[tuple[dict[str, Any], Place], None, None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Packing:
    """What was packed.

    Attributes:
        output: The data set.
        index: Its shards and fields.
        source: What it was made of, in a user's words.
        rows: Rows that were read.
        empty: Rows that had no text, and are not in it.
        tokens: Tokens in it; None where there is no text.
        left_out: Tokens that did not fill the last sequence.
        resumed: Records that an interrupted packing had finished.
        seconds: How long it took, this time.
    """

    output: Path
    index: Index
    source: str
    rows: int
    empty: int
    tokens: int | None
    left_out: int
    resumed: int
    seconds: float


@dataclass(slots=True)
class _Tally:
    """What is counted while rows pass."""

    rows: int
    empty: int
    left_out: int = 0


def pack(config: PackConfig, *, progress: Progress = silent) -> Packing:
    """Pack what a configuration names.

    Memory does not grow with the source. The output depends neither on ``workers`` nor on how
    often the packing was interrupted and gone on with.

    Raises:
        InputError: The source, the tokenizer or the output cannot be used, or a row is bad.
    """
    began = time.perf_counter()
    refuse_existing(config.output, overwrite=config.overwrite)
    source = open_source(config)
    told = {
        "name": config.tokenizer,
        "marks": config.pack_length is None,
        "max_length": config.max_length,
        "end_token": config.end_token,
    }
    tokenizer = load_tokenizer(**told)
    plan = plan_columns(source, config, tokenizer)
    encoder = Encoder(
        plan=plan,
        tokenizer=told,
        sequences=config.pack_length is not None,
        image_mode=config.image_mode,
        image_size=config.image_size,
    )
    mark = _fingerprint(config, source, tokenizer)
    with open_job(config.output, mark, resume=config.resume, overwrite=config.overwrite) as job:
        begun = job.journal
        tally = _Tally(begun.place.item, begun.empty)
        series = ShardSeries(
            job.folder, plan.fields, shard_bytes=config.shard_size, done=begun.shards
        )
        rows = _encoded(source, encoder, begun.place.item, config.workers, tally, progress)
        _write(_placed(rows, plan, encoder, begun.place, tally), series, job, tally)
        counts = {"rows": tally.rows, "empty": tally.empty, "left_out": tally.left_out}
        meta = _meta(config, source, plan, tokenizer)
        report = {"source": source.name, **counts, "versions": versions()}
        index = write_index(job.folder, series, meta, report)
        _keep_tokenizer(plan, tokenizer, job.folder)
    return Packing(
        output=config.output,
        index=index,
        source=source.name,
        tokens=_tokens(config.output, index),
        resumed=sum(shard.records for shard in begun.shards),
        seconds=time.perf_counter() - began,
        **counts,
    )


def _encoded(
    source: Source, encoder: Encoder, first: int, workers: int, tally: _Tally, progress: Progress
) -> Generator[tuple[int, dict[str, Any]], None, None]:
    """The records of rows from ``first`` on, with the numbers of their rows."""
    items = islice(source.items(), first, None)
    with closing(ordered_map(encoder, _chunks(items), workers)) as chunks:
        for records in chunks:
            for record in records:
                tally.rows += 1
                tally.empty += record is None
                if record is not None:
                    yield tally.rows - 1, record
            progress("packing rows", tally.rows, source.count)


def _placed(
    rows: Generator[tuple[int, dict[str, Any]], None, None],
    plan: Plan,
    encoder: Encoder,
    begun: Place,
    tally: _Tally,
) -> _Records:
    """The records to write, each with the place behind it: those of rows, or sequences of them."""
    with closing(rows):
        if not encoder.sequences:
            for number, record in rows:
                yield record, Place(number + 1)
            return
        packer = SequencePacker(plan.fields[0])
        for number, record in rows:
            start = begun.token if number == begun.item else 0
            yield from packer.add(record[TOKENS], number, start)
        tally.left_out = packer.left


def _write(records: _Records, series: ShardSeries, job: Job, tally: _Tally) -> None:
    try:
        with closing(records):
            for record, place in records:
                if series.write(record):
                    job.note(series.shards, place, tally.empty)
        series.finish()
    finally:
        series.abandon()


def _chunks(items: Iterable[Item]) -> Iterator[Sequence[Item]]:
    """Rows in groups that are worth sending to a worker, and small enough to wait in memory."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += sum(_size(value) for value in item.values.values())
        if len(chunk) >= _ROWS_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _size(value: Any) -> int:
    """About how many bytes a value has."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return 8 * len(value) if isinstance(value, list) else getattr(value, "nbytes", 8)


def _fingerprint(config: PackConfig, source: Source, tokenizer: Tokenizer) -> str:
    settings = {key: str(value) for key, value in asdict(config).items() if key not in _FREE}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(f"{source.name} {tokenizer.fingerprint}".encode())
    for path in source.files:
        status = path.stat()
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}".encode(errors="replace"))
    return digest.hexdigest()


def _meta(config: PackConfig, source: Source, plan: Plan, tokenizer: Tokenizer) -> dict[str, Any]:
    meta: dict[str, Any] = {"source": source.name}
    if plan.classes:
        meta["classes"] = list(plan.classes)
    if TOKENS in [field.name for field in plan.fields]:
        meta["tokenizer"] = {
            "name": tokenizer.name,
            "vocabulary": tokenizer.vocabulary,
            "end_token": tokenizer.end_token,
            "end": tokenizer.end,
            "fingerprint": tokenizer.fingerprint,
        }
        if config.pack_length is not None:
            meta["pack_length"] = config.pack_length
    return meta


def _keep_tokenizer(plan: Plan, tokenizer: Tokenizer, folder: Path) -> None:
    """Put a copy of the tokenizer beside the tokens, which mean nothing without it."""
    if TOKENS not in [field.name for field in plan.fields] or not tokenizer.files:
        return
    (folder / "tokenizer").mkdir(exist_ok=True)
    for file in tokenizer.files:
        shutil.copyfile(file, folder / "tokenizer" / file.name)


def _tokens(output: Path, index: Index) -> int | None:
    """Tokens in all shards, from their headers."""
    if TOKENS not in [field.name for field in index.fields]:
        return None
    sections = [read_header(output / shard.file).sections for shard in index.shards]
    return sum(
        section.data_bytes // DTYPES[section.field.dtype].size
        for of_shard in sections
        for section in of_shard
        if section.field.name == TOKENS
    )
