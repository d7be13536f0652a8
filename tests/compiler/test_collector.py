"""No collection begins while a graph is made, and collections go on afterwards."""

import gc

import pytest

from deepseek.compiler.collector import uncollected


def test_collections_go_on_afterwards() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collections_go_on_after_an_error() -> None:
    with pytest.raises(ValueError, match="gone"), uncollected():
        raise ValueError("gone")
    assert gc.isenabled()


def test_who_had_turned_them_off_finds_them_off() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
