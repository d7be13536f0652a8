"""Values become the numbers of a field, or are refused; nothing is lost unsaid."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from deepseek.data.packed.field import Field
from deepseek.data.packed.values import rows_of
from deepseek.errors import InputError

TOKENS = Field("tokens", "uint16", ragged=True)


@pytest.mark.parametrize(
    "value",
    [[1, 2, 65535], np.array([1, 2, 65535]), torch.tensor([1, 2, 65535]), (1, 2, 65535)],
    ids=["list", "array", "tensor", "tuple"],
)
def test_ways_to_give_numbers(value: object) -> None:
    rows = rows_of(TOKENS, value)
    assert rows.dtype == np.uint16
    assert_array_equal(rows, [1, 2, 65535])


def test_numbers_alone_and_nothing() -> None:
    assert rows_of(Field("label", "int64"), 3).shape == ()
    assert rows_of(Field("flag", "bool"), True).dtype == np.bool_
    assert rows_of(TOKENS, []).shape == (0,)
    assert rows_of(Field("points", "float32", (3,), ragged=True), []).shape == (0, 3)


def test_floats_are_rounded_and_whole_numbers_become_floats() -> None:
    assert_array_equal(rows_of(Field("x", "float32", (2,)), [1, 2]), np.float32([1, 2]))
    assert_array_equal(rows_of(Field("x", "float16", (1,)), [0.1]), np.float16([0.1]))


def test_bfloat16_is_rounded_as_torch_rounds() -> None:
    field = Field("x", "bfloat16", (3,))
    expected = torch.tensor([0.1, -2.5, 3e38]).bfloat16()
    for value in ([0.1, -2.5, 3e38], expected, expected.double().numpy()):
        rows = rows_of(field, value)
        assert torch.equal(torch.from_numpy(rows).view(torch.bfloat16), expected)


def test_memory_in_any_order_is_written_in_the_order_of_its_indices() -> None:
    field = Field("image", "uint8", (2, 3))
    image = np.arange(6, dtype=np.uint8).reshape(3, 2).T
    rows = rows_of(field, image)
    assert rows.flags.c_contiguous
    assert rows.tobytes() == bytes([0, 2, 4, 1, 3, 5])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (TOKENS, [1, 65536], "numbers from 1 to 65536"),
        (TOKENS, [-1], "numbers from -1 to -1"),
        (TOKENS, [1.5], "float64 values"),
        (TOKENS, ["a"], "values"),
        (TOKENS, [None], "object values"),
        (TOKENS, 5, "got the shape []"),
        (TOKENS, [[1]], "got the shape [1, 1]"),
        (TOKENS, [[1], [1, 2]], "lists of different lengths"),
        (Field("label", "int64"), [1], "got the shape [1]"),
        (Field("label", "int64"), 2**63, "numbers from 9223372036854775808"),
        (Field("flag", "bool"), 1, "numbers from 1 to 1"),
        (Field("image", "uint8", (2, 2)), [[1, 2]], "got the shape [1, 2]"),
        (Field("x", "bfloat16"), "a", "values"),
        (Field("x", "float32"), 1j, "complex128 values"),
    ],
)
def test_what_does_not_fit_is_refused(field: Field, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        rows_of(field, value)
    assert str(field) in caught.value.message
    assert message in caught.value.message
