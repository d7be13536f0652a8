"""Columns become fields as their values say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.data.config import PackConfig
from deepseek.data.packing.item import Item, Source
from deepseek.data.packing.plan import Plan, plan_columns
from deepseek.data.packing.tokenizers import load_tokenizer
from deepseek.errors import InputError


def source_of(rows: Sequence[dict[str, Any]], **options: Any) -> Source:
    items = [Item(row, f"rows:{number}") for number, row in enumerate(rows)]
    return Source(name="rows", items=lambda: iter(items), **options)


def plan_of(rows: Sequence[dict[str, Any]], **options: Any) -> Plan:
    classes = options.pop("known", ())
    config = PackConfig(source=("x",), output=Path("out"), **options)
    return plan_columns(source_of(rows, classes=classes), config, load_tokenizer("bytes"))


def fields(rows: Sequence[dict[str, Any]], **options: Any) -> list[str]:
    return [str(field) for field in plan_of(rows, **options).fields]


def test_text_and_label() -> None:
    rows = [{"id": "7", "sentence": "good", "label": "1"}, {"id": "8", "sentence": "", "label": 0}]
    assert fields(rows) == ["tokens: uint16[*]", "label: int64"]
    assert fields(rows, columns=("id",)) == ["tokens: uint16[*]", "id: int64", "label: int64"]
    assert fields(rows, dtype="int32") == ["tokens: int32[*]", "label: int64"]
    assert fields([{"text": "a"}]) == ["tokens: uint16[*]"]
    assert fields([{"a": "x", "b": "y"}], text_column="b") == ["tokens: uint16[*]"]


def test_sequences() -> None:
    rows = [{"text": "good", "label": "1"}]
    assert fields(rows, pack_length=16) == ["tokens: uint16[16]", "boundaries: int32[*]"]


def test_numbers_alone() -> None:
    rows: list[dict[str, Any]] = [
        {"ids": [1, 2], "scores": [[0.5, 1.0]], "weight": None, "ok": True, "n": 3, "label": 1.5},
        {"ids": [], "scores": [], "weight": 2.5, "ok": False, "n": 4, "label": 2},
    ]
    assert fields(rows) == [
        "ids: int64[*]", "scores: float32[*, 2]", "weight: float32", "ok: bool", "n: int64",
        "label: float32",
    ]  # fmt: skip
    assert fields(rows, columns=("n",)) == ["n: int64", "label: float32"]


def test_arrays_keep_their_types() -> None:
    rows = [{"image": np.zeros((2, 3), np.uint8), "label": np.uint8(3)}]
    assert fields(rows) == ["image: uint8[2, 3]", "label: int64"]


def test_classes() -> None:
    rows = [{"text": "x", "label": name} for name in ("good", "bad", "good", "fair")]
    assert plan_of(rows).classes == ("bad", "fair", "good")
    assert plan_of(rows, classes=("good", "fair", "bad")).classes == ("good", "fair", "bad")
    assert plan_of([{"text": "x", "label": 1}], known=("no", "yes")).classes == ("no", "yes")
    assert plan_of([{"text": "x", "label": 1}]).classes == ()


def test_classes_beyond_the_first_rows_are_found() -> None:
    rows = [{"text": "x", "label": "b"}] * 500 + [{"text": "x", "label": "a"}]
    assert plan_of(rows).classes == ("a", "b")


def test_too_many_classes() -> None:
    rows = [{"text": "x", "label": f"name {number}"} for number in range(10_001)]
    with pytest.raises(InputError, match="at most 10000 classes in column 'label', found more"):
        plan_of(rows)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "expected rows to pack in rows, found none"),
        ([{"text": "x"}], {"text_column": "body"}, "expected the column 'body', found 'text'"),
        ([{"text": "x"}], {"columns": ("n",)}, "expected the column 'n'"),
        ([{"text": "x"}], {"label_column": "y"}, "expected the column 'y'"),
        ([{"a": "x", "b": "y"}], {}, "expected a text column"),
        ([{"n": 1}], {"pack_length": 8}, "expected a column of text for --pack_length"),
        ([{"a": {"b": 1}}], {}, "expected a column of text, numbers or images, found 'a'"),
        ([{"text": "x", "a": {"b": 1}}], {"columns": ("a",)}, "expected numbers or images"),
        ([{"text": "x", "a": [["y"]]}], {"columns": ("a",)}, "expected numbers or images"),
        ([{"text": "x"}], {"dtype": "uint8"}, "holds 257, got --dtype uint8"),
        ([{"text": "x", "label": None}], {}, "rows:0: expected a label in column 'label'"),
        ([{"text": "x", "tokens": 1}], {"columns": ("tokens",)}, "different names"),
    ],
)
def test_what_cannot_be_packed(
    rows: list[dict[str, Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        plan_of(rows, **options)
    assert message in caught.value.message
