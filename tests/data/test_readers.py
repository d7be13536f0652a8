"""Each format gives rows with their lines, and says where a file is bad."""

import json
import sys

import pyarrow
import pytest
from pyarrow import parquet

from deepseek.data.readers import READERS
from deepseek.errors import InputError


def rows(path):
    return [(row.line, dict(row.values)) for row in READERS[path.suffix](path)]


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


GOOD = [
    ("a.txt", "one\r\n\n  two \n", [(1, {"text": "one"}), (3, {"text": "two"})]),
    ("a.txt", b"\xef\xbb\xbfone", [(1, {"text": "one"})]),
    ("a.txt", "", []),
    ("a.jsonl", '{"text": "a", "label": 1}\n\n{"text": "b"}\n',
     [(1, {"text": "a", "label": 1}), (3, {"text": "b"})]),
    ("a.ndjson", '{"text": "é"}', [(1, {"text": "é"})]),
    ("a.csv", 'text,label\n"a, b",1\r\n"two\nlines",0\nlast,1\n',
     [(2, {"text": "a, b", "label": "1"}), (3, {"text": "two\nlines", "label": "0"}),
      (5, {"text": "last", "label": "1"})]),
    ("a.csv", "text,label\n", []),
    ("a.csv", "", []),
    ("a.tsv", 'text\tlabel\nhe said "no\t1\n"quoted ""cell"""\t0\n\n',
     [(2, {"text": 'he said "no', "label": "1"}), (3, {"text": 'quoted "cell"', "label": "0"})]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "expected"), GOOD)
def test_good_files(tmp_path, name, content, expected):
    assert rows(written(tmp_path, name, content)) == expected


BAD = [
    ("a.txt", b"fine\ncaf\xe9\n", ":2: expected UTF-8 text, found byte 0xe9"),
    ("a.txt", "text".encode("utf-16"), ":1: expected UTF-8 text, found byte 0xff"),
    ("a.txt", b"PK\x03\x04\0\0", ":1: expected text, found a zero byte"),
    ("a.jsonl", '{"text": "a"}\n{"text": \n', ":2: expected a JSON object, found Expecting value"),
    ("a.jsonl", '["a"]\n', ":1: expected a JSON object, found a list"),
    ("a.jsonl", "[" * 100_000, ":1: expected a JSON object, found"),
    ("a.jsonl", '{"text": "caf\xe9"}'.encode("latin1"), ":1: expected UTF-8 text"),
    ("a.csv", "text,label\na,1\nb\n", ":3: expected 2 columns as in line 1, found 1"),
    ("a.csv", "text,label\na,1,2\n", ":2: expected 2 columns as in line 1, found 3"),
    ("a.csv", 'text,label\n"never closed,1\n', ":2: expected comma-separated values, found"),
    ("a.csv", "text,text\na,b\n", ":1: expected different names in the first line"),
    ("a.csv", "text\n" + "x" * 200_000 + "\n", ":2: expected comma-separated values, found field"),
    ("a.tsv", "text\tlabel\na b\n", ":2: expected 2 columns as in line 1, found 1"),
    ("a.parquet", b"no parquet", ":1: expected a Parquet file, found"),
    ("a.parquet", b"", ":1: expected a Parquet file, found"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_bad_files_name_the_line(tmp_path, name, content, message):
    path = written(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        rows(path)
    assert caught.value.message.startswith(f"{path}{message}")
    assert "\n" not in caught.value.message


def test_parquet_in_several_batches(tmp_path):
    texts = [f"text {number}" for number in range(2500)]
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": texts, "label": list(range(2500))}), path)
    found = rows(path)
    assert [line for line, _ in found] == list(range(1, 2501))
    assert found[2100] == (2101, {"text": "text 2100", "label": 2100})


def test_truncated_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", "b"]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="expected a Parquet file, found"):
        rows(path)


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = written(tmp_path, "a.parquet", b"PAR1")
    with pytest.raises(InputError, match="expected pyarrow") as caught:
        rows(path)
    assert caught.value.hint == "pip install 'deepseek-toolkit[data]'"


def test_reading_is_lazy(tmp_path):
    lines = [json.dumps({"text": str(number)}) for number in range(10)]
    path = written(tmp_path, "a.jsonl", "\n".join([*lines, "not json"]))
    reader = READERS[".jsonl"](path)
    assert next(reader).values == {"text": "0"}
