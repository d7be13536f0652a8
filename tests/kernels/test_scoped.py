"""A value holds within its statement, and what was there comes back."""

import threading

import pytest

from deepseek.kernels.scoped import scoped


def test_what_was_there_comes_back():
    holder = threading.local()
    with scoped(holder, "value", 1):
        with scoped(holder, "value", 2):
            assert holder.value == 2
        assert holder.value == 1
    assert holder.value is None


def test_it_comes_back_after_an_error():
    holder = threading.local()
    holder.value = 1
    with pytest.raises(ValueError, match="gone"), scoped(holder, "value", 2):
        raise ValueError("gone")
    assert holder.value == 1
