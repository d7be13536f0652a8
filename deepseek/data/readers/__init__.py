"""One small file a format; the table says which reader takes which ending."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from deepseek.data.readers.arrow import read_arrow
from deepseek.data.readers.delimited import read_csv, read_tsv
from deepseek.data.readers.jsonl import read_jsonl
from deepseek.data.readers.parquet import read_parquet
from deepseek.data.readers.plain_text import read_plain_text
from deepseek.data.readers.row import Row

__all__ = ["READERS", "Row"]

READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": read_csv,
    ".arrow": read_arrow,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
    ".tsv": read_tsv,
    ".txt": read_plain_text,
}
