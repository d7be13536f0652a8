"""Labels become classes: by number, or by the name in the model's configuration."""

import pytest

from deepseek.data.labels import classes_of
from deepseek.data.sample import Record
from deepseek.errors import InputError

NAMES = {"negative": 0, "Positive": 1, "neutral": 2}


def records(*labels):
    return [Record("text", label, f"data.csv:{line}") for line, label in enumerate(labels, 2)]


@pytest.mark.parametrize(
    ("label", "expected"),
    [(0, 0), ("2", 2), (1.0, 1), ("1.0", 1), (True, 1), ("negative", 0), (" POSITIVE ", 1)],
)
def test_numbers_and_names(label, expected):
    assert classes_of(records(label), NAMES, 3) == [expected]


def test_a_name_that_looks_like_a_number_is_a_name():
    assert classes_of(records("1", 5), {"5": 0, "1": 1}, 2) == [1, 0]


@pytest.mark.parametrize("label", [3, -1, "7", 0.5, "angry", [], float("nan"), float("inf")])
def test_outside_the_classes(label):
    with pytest.raises(InputError) as caught:
        classes_of(records(0, label), NAMES, 3)
    expected = "data.csv:3: expected a class from 0 to 2 or its name (negative, positive, neutral)"
    assert caught.value.message.startswith(expected)


def test_missing():
    with pytest.raises(InputError, match=r"data.csv:3: expected a label as in the other files"):
        classes_of(records(0, None), NAMES, 3)
