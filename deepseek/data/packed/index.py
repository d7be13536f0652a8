"""The index of a data set: the file that says which shards there are and what they hold."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from deepseek.data.packed.field import Field, check_fields
from deepseek.errors import InputError

__all__ = ["INDEX_NAME", "SUFFIX", "Index", "ShardEntry", "read_index", "shard_name"]

INDEX_NAME = "index.json"
SUFFIX = ".packed"
SCHEMA = "deepseek.packed/1"
_FAMILY = SCHEMA.rpartition("/")[0] + "/"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard as the index knows it: file name, records, size in bytes."""

    file: str
    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Index:
    """What a data set consists of.

    Attributes:
        fields: The fields of every record.
        shards: The shards in order; record numbers go on from one to the next.
        meta: What the packer had to say: tokeniser, classes, sources; plain JSON values.
    """

    fields: tuple[Field, ...]
    shards: tuple[ShardEntry, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many records there are in all shards."""
        return sum(shard.records for shard in self.shards)

    @property
    def bytes(self) -> int:
        """The size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    def to_text(self) -> str:
        """The text of the index file."""
        document = {
            "schema": SCHEMA,
            "records": self.records,
            "fields": [field.as_json() for field in self.fields],
            "shards": [
                {"file": shard.file, "records": shard.records, "bytes": shard.bytes}
                for shard in self.shards
            ],
            "meta": self.meta,
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def shard_name(number: int) -> str:
    """The file name of a shard: ``00000.packed``."""
    return f"{number:05d}{SUFFIX}"


def read_index(folder: Path) -> Index:
    """Read the index of the data set in ``folder``.

    Raises:
        InputError: There is none, it is of another version, or it does not make sense.
    """
    path = folder / INDEX_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"expected a packed data set at {folder}, cannot read {path}: {error.strerror}",
            hint="deepseek data pack makes one",
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, found {error}") from error
    schema = _get(document, "schema", str, path)
    if schema != SCHEMA:
        known = schema.startswith(_FAMILY)
        raise InputError(
            f"{path}: expected the schema {SCHEMA}, found {schema!r:.40}",
            hint="a newer deepseek-toolkit may read it; or pack the data again" if known else None,
        )
    fields = check_fields(_list(document, "fields", path, _read_field))
    shards = tuple(_list(document, "shards", path, _read_shard))
    if not shards:
        raise InputError(f"{path}: expected at least one shard, found none")
    index = Index(fields, shards, _get(document, "meta", dict, path))
    if index.records != _get(document, "records", int, path):
        raise InputError(f"{path}: expected {document['records']} records, found {index.records}")
    return index


def _read_field(item: object, path: Path) -> Field:
    shape = tuple(_list(item, "shape", path, lambda size, _: size))
    name, dtype = _get(item, "name", str, path), _get(item, "dtype", str, path)
    return Field(name, dtype, shape, _get(item, "ragged", bool, path))


def _read_shard(item: object, path: Path) -> ShardEntry:
    name = _get(item, "file", str, path)
    if Path(name).name != name or not name.endswith(SUFFIX) or not name.isprintable():
        raise InputError(f"{path}: expected the name of a {SUFFIX} file beside it, found {name!r}")
    entry = ShardEntry(name, _get(item, "records", int, path), _get(item, "bytes", int, path))
    if entry.records < 1:
        raise InputError(f"{path}: expected records in {name}, found {entry.records}")
    return entry


def _get(item: object, key: str, kind: type[_T], path: Path) -> _T:
    value = item.get(key) if isinstance(item, dict) else None
    # A bool is an int for Python, not for JSON.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{path}: expected {key!r} to be a {kind.__name__}, found {value!r:.40}")
    return value


def _list(item: object, key: str, path: Path, read: Callable[[Any, Path], _T]) -> list[_T]:
    return [read(part, path) for part in _get(item, key, list, path)]
