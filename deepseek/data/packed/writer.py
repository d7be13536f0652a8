"""Write a packed data set: a folder of shards with its index."""

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deepseek.data.packed.field import Field, check_fields
from deepseek.data.packed.index import INDEX_NAME, SCHEMA, Index, ShardEntry, shard_name
from deepseek.data.packed.shard_writer import ShardWriter
from deepseek.errors import InputError
from deepseek.outputs import staged

__all__ = ["SHARD_BYTES", "PackedWriter", "ShardSeries", "write_index"]

SHARD_BYTES = 10**9


class ShardSeries:
    """Shards written one after the other into a folder.

    Args:
        folder: Where they go.
        fields: The fields of every record.
        shard_bytes: A shard that holds so many bytes of numbers is finished; a record is never
            divided, so one longer than this has a shard of its own.
        done: Shards that are there already, from the first on.
    """

    def __init__(
        self,
        folder: Path,
        fields: Iterable[Field],
        *,
        shard_bytes: int = SHARD_BYTES,
        done: Iterable[ShardEntry] = (),
    ) -> None:
        self.fields = check_fields(fields)
        self.shards = list(done)
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._open: ShardWriter | None = None

    def write(self, record: Mapping[str, object]) -> bool:
        """Add a record; true where this finished a shard.

        Raises:
            InputError: A field is missing, unknown, or of another shape or type.
        """
        if self._open is None:
            self._open = ShardWriter(self._folder / shard_name(len(self.shards)), self.fields)
        self._open.write(record)
        if self._open.payload < self._shard_bytes:
            return False
        self.finish()
        return True

    def finish(self) -> None:
        """Finish the shard that is being written, if one is."""
        if self._open is not None:
            self.shards.append(self._open.finish())
            self._open = None

    def abandon(self) -> None:
        """Remove the shard that is being written; finished ones stay."""
        if self._open is not None:
            self._open.abandon()
            self._open = None


class PackedWriter:
    """Writes a packed data set; it appears at its place when the ``with`` block ends well.

        fields = [Field("tokens", "int32", ragged=True), Field("label", "int64")]
        with PackedWriter("out", fields) as writer:
            writer.write({"tokens": [5, 3, 8], "label": 1})

    Args:
        dest: The folder to write.
        fields: The fields of every record.
        shard_bytes: About how large a shard becomes.
        overwrite: Replace a data set that is there already.
        meta: What readers should find in ``PackedDataset.meta``; plain JSON values.

    Raises:
        InputError: ``dest`` is taken or cannot be written to, or the fields make no sense; when
            the block ends, that no record was written.
    """

    def __init__(
        self,
        dest: str | Path,
        fields: Iterable[Field],
        *,
        shard_bytes: int = SHARD_BYTES,
        overwrite: bool = False,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self._dest = Path(dest)
        self._fields = check_fields(fields)
        self._shard_bytes = shard_bytes
        self._overwrite = overwrite
        self._meta = dict(meta or {})
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = stack.enter_context(staged(self._dest, overwrite=self._overwrite))
            self._folder.mkdir()
            self._series = ShardSeries(self._folder, self._fields, shard_bytes=self._shard_bytes)
            stack.callback(self._series.abandon)
            self._stack = stack.pop_all()
        return self

    def write(self, record: Mapping[str, object]) -> None:
        """Add a record: numbers, lists, arrays or tensors by the name of their field.

        Raises:
            InputError: A field is missing, unknown, or of another shape or type.
        """
        self._series.write(record)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            if error is not None:
                raise error
            self._series.finish()
            write_index(self._folder, self._series, self._meta)


def write_index(
    folder: Path,
    series: ShardSeries,
    meta: dict[str, Any],
    report: Mapping[str, Any] | None = None,
) -> Index:
    """Complete a data set of finished shards by its index and ``report.json``.

    Raises:
        InputError: There is no record.
    """
    index = Index(series.fields, tuple(series.shards), meta)
    if not index.shards:
        raise InputError("expected at least one record to pack, got none")
    (folder / INDEX_NAME).write_text(index.to_text(), encoding="utf-8")
    document = {
        "schema": SCHEMA,
        "records": index.records,
        "bytes": index.bytes,
        "shards": len(index.shards),
        "fields": [str(field) for field in index.fields],
        **(report or {}),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    return index
