"""The text and label columns are found by name, or else by what they hold."""

from pathlib import Path

import pytest

from deepseek.data.columns import Columns, find_columns
from deepseek.errors import InputError

PATH = Path("data.csv")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": "1", "text": "a", "label": "0"}, Columns("text", "label")),
        ({"Sentence": "a", "Sentiment": "pos"}, Columns("Sentence", "Sentiment")),
        ({"review": "a", "stars": 3}, Columns("review", None)),
        ({"title": "a", "content": "b"}, Columns("content", None)),
        ({"id": "17", "phrase": "words here", "score": "0.5"}, Columns("phrase", None)),
        ({"phrase": "words", "class": "good"}, Columns("phrase", "class")),
        ({"text": "a"}, Columns("text", None)),
    ],
)
def test_by_name_or_content(row, expected):
    assert find_columns(PATH, [row]) == expected


def test_named_columns_win():
    row = {"text": "a", "summary": "b", "label": 0, "stars": 1}
    found = find_columns(PATH, [row], text_column="summary", label_column="stars")
    assert found == Columns("summary", "stars")


def test_a_column_of_words_may_start_with_numbers():
    rows = [{"a": "1", "b": "2"}, {"a": "2", "b": "words"}, {"a": "", "b": None}]
    assert find_columns(PATH, rows) == Columns("b", None)


@pytest.mark.parametrize("row", [{"a": "words", "b": "words"}, {"a": 1, "b": "2"}, {}])
def test_no_telling_is_an_error(row):
    with pytest.raises(InputError, match="expected a text column") as caught:
        find_columns(PATH, [row])
    assert caught.value.hint == "--text_column names it"


@pytest.mark.parametrize("flag", ["text_column", "label_column"])
def test_a_named_column_must_be_there(flag):
    with pytest.raises(InputError, match="'missing', found the columns 'text'") as caught:
        find_columns(PATH, [{"text": "a"}], **{flag: "missing"})
    assert caught.value.hint == f"--{flag} names another"
