"""Fields say what they are and refuse what no file can hold."""

from typing import Any

import pytest

from deepseek.data.packed.field import DTYPES, Field, check_fields
from deepseek.errors import InputError


def test_fields_in_words() -> None:
    assert str(Field("label", "int64")) == "label: int64"
    assert str(Field("image", "uint8", (28, 28))) == "image: uint8[28, 28]"
    assert str(Field("points", "float32", (3,), ragged=True)) == "points: float32[*, 3]"


def test_bytes_of_a_row() -> None:
    assert Field("image", "bfloat16", (4, 8)).row_bytes == 64
    assert Field("tokens", "uint16", ragged=True).row_bytes == 2
    assert all(Field("x", name).row_bytes == dtype.size for name, dtype in DTYPES.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "a name of printable characters"),
        ({"name": " "}, "a name of printable characters"),
        ({"name": "a\nb"}, "a name of printable characters"),
        ({"name": "股" * 17}, "a name of at most 48 bytes"),
        ({"dtype": "complex64"}, "one of the types uint8, int8"),
        ({"shape": (1,) * 9}, "at most 8 dimensions, got 9"),
        ({"shape": (3, 0)}, "sizes from 1 to 4294967295"),
        ({"shape": (2**32,)}, "sizes from 1 to 4294967295"),
        ({"shape": (1.5,)}, "sizes from 1 to 4294967295"),
    ],
)
def test_impossible_fields(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        Field(**({"name": "x", "dtype": "int8"} | arguments))
    assert message in caught.value.message


def test_fields_of_a_record() -> None:
    field = Field("x", "int8")
    with pytest.raises(InputError, match="expected 1 to 31 fields, got 0"):
        check_fields([])
    with pytest.raises(InputError, match="expected 1 to 31 fields, got 32"):
        check_fields([Field(f"x{number}", "int8") for number in range(32)])
    with pytest.raises(InputError, match="different names, got x, x"):
        check_fields([field, field])
