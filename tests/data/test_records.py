"""Records: a sample without favour, split by text, with the origin of every one."""

import json
import random

import pytest

from deepseek.data.records import read_records
from deepseek.data.sample import Record, Sample, essence
from deepseek.errors import InputError


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def texts(records):
    return [record.text for record in records]


def test_named_files(tmp_path):
    write(tmp_path / "train.jsonl", [{"text": f"a{n}", "label": 0} for n in range(5)])
    write(tmp_path / "test.jsonl", [{"text": f"b{n}", "label": n} for n in range(7)])
    found = read_records(tmp_path)
    assert sorted(texts(found.calibration)) == [f"a{n}" for n in range(5)]
    assert sorted(texts(found.held_out)) == [f"b{n}" for n in range(7)]
    assert found.rows == 12
    record = next(record for record in found.held_out if record.text == "b3")
    assert record.label == 3
    assert record.origin == f"{tmp_path / 'test.jsonl'}:4"


def test_one_file_is_split_by_text_about_in_half(tmp_path):
    write(tmp_path / "all.jsonl", [{"text": f"text {n}"} for n in range(1000)])
    found = read_records(tmp_path)
    assert len(found.calibration) + len(found.held_out) == 1000
    assert 450 < len(found.held_out) < 550
    assert read_records(tmp_path, seed=1).held_out != found.held_out  # another order …
    assert set(read_records(tmp_path, seed=1).held_out) == set(found.held_out)  # … the same side


def test_share_held_out(tmp_path):
    write(tmp_path / "all.jsonl", [{"text": f"text {n}"} for n in range(1000)])
    assert 60 < len(read_records(tmp_path, held_out=0.1).held_out) < 140


def test_duplicates_never_straddle_and_count_once(tmp_path):
    rows = [{"text": text} for n in range(200) for text in (f"Text {n}", f" text  {n}")]
    write(tmp_path / "all.jsonl", rows)
    found = read_records(tmp_path)
    essences = [essence(record.text) for record in found.calibration + found.held_out]
    assert len(essences) == len(set(essences)) == 200


def test_a_text_of_the_test_file_is_not_calibrated_on(tmp_path):
    write(tmp_path / "train.jsonl", [{"text": "shared"}, {"text": "own"}])
    write(tmp_path / "test.jsonl", [{"text": "Shared"}, {"text": "other"}])
    found = read_records(tmp_path)
    assert texts(found.calibration) == ["own"]
    assert sorted(texts(found.held_out)) == ["Shared", "other"]


def test_the_sample_does_not_depend_on_order_and_shows_no_favour(tmp_path):
    rows = [{"text": f"text {n}", "label": int(n >= 500)} for n in range(1000)]
    write(tmp_path / "test.jsonl", rows)
    write(tmp_path / "train.jsonl", [{"text": "x", "label": 0}])
    found = read_records(tmp_path, limit=100).held_out
    assert len(found) == 100
    assert 30 < sum(record.label for record in found) < 70
    random.Random(0).shuffle(rows)
    write(tmp_path / "test.jsonl", rows)
    assert texts(read_records(tmp_path, limit=100).held_out) == texts(found)


def test_rows_without_text_are_counted(tmp_path):
    write(tmp_path / "a.jsonl", [{"text": "a"}, {"text": ""}, {"text": None}, {"text": "b"}])
    found = read_records(tmp_path)
    assert (found.rows, found.empty) == (2, 2)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_few_texts_still_give_both_parts(tmp_path, count):
    for seed in range(20):
        write(tmp_path / "a.jsonl", [{"text": f"{seed} {n}"} for n in range(count)])
        found = read_records(tmp_path)
        assert found.calibration
        assert found.held_out
        assert len(found.calibration) + len(found.held_out) == count


@pytest.mark.parametrize("rows", [[], [{"text": "a"}], [{"text": "a"}, {"text": "A "}]])
def test_too_few_texts(tmp_path, rows):
    write(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError, match="expected at least 2 different texts"):
        read_records(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sentence": "b"}, "expected the column 'text' as in the rows before, found 'sentence'"),
        ({}, "expected the column 'text' as in the rows before, found no column"),
        ({"text": 5, "label": 0}, "expected text in column 'text', found 5"),
        ({"text": ["a"], "label": 0}, "expected text in column 'text', found ['a']"),
        ({"text": "b", "label": None}, "expected a label in column 'label', found none"),
        ({"text": "b"}, "expected the column 'label' as in the rows before, found 'text'"),
    ],
)
def test_bad_rows_name_the_line(tmp_path, row, message):
    path = tmp_path / "a.jsonl"
    write(path, [{"text": "a", "label": 0}, row])
    with pytest.raises(InputError) as caught:
        read_records(tmp_path)
    assert caught.value.message == f"{path}:2: {message}"


def test_progress_is_told_of_rows(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"{n}\n" for n in range(2500)))
    heard = []
    read_records(tmp_path, progress=lambda *event: heard.append(event))
    assert heard == [("reading rows", 1000, None), ("reading rows", 2000, None)]


def test_a_sample_holds_no_more_than_its_limit():
    sample = Sample(limit=10, seed=0)
    for number in range(1000):
        sample.offer(Record(str(number), None, ""))
    assert len(sample.records()) == len(sample._heap) == len(sample._kept) == 10
