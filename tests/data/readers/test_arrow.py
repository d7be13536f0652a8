"""Arrow streams and files, whole and damaged."""

import pytest

from deepseek.data.readers.arrow import read_arrow
from deepseek.data.records import read_records
from deepseek.errors import InputError

pyarrow = pytest.importorskip("pyarrow")

ROWS = [{"text": f"text {number}", "label": number % 2} for number in range(600)]


def write(path, kind, rows=ROWS):
    table = pyarrow.Table.from_pylist(rows)
    maker = {"stream": pyarrow.ipc.new_stream, "file": pyarrow.ipc.new_file}[kind]
    with path.open("wb") as sink, maker(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=350)
    return path


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_rows_in_their_order(tmp_path, kind):
    found = list(read_arrow(write(tmp_path / "a.arrow", kind)))
    assert [row.values for row in found] == ROWS
    assert [row.line for row in found] == list(range(1, 601))


def test_a_folder_that_datasets_saved(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "state.json").write_text("{}")
        rows = [{**row, "text": f"{split} {row['text']}"} for row in ROWS]
        write(tmp_path / split / "data-00000-of-00001.arrow", "stream", rows)
    records = read_records(tmp_path)
    assert len(records.held_out) == 600
    assert {record.label for record in records.held_out} == {0, 1}


@pytest.mark.parametrize("content", [b"", b"ARROW1 and no more", b"words"])
def test_damaged(tmp_path, content):
    path = tmp_path / "a.arrow"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.arrow:1: expected an Arrow file"):
        list(read_arrow(path))


def test_cut_off(tmp_path):
    path = write(tmp_path / "a.arrow", "stream")
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(InputError, match="expected an Arrow file"):
        list(read_arrow(path))
