"""No collection begins while a graph is made, and collections go on afterwards."""

import gc

import pytest

from deepseek.compiler import collector
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


@pytest.mark.skipif(not collector._CHEAP, reason="this Python would visit each object")
def test_what_was_made_meanwhile_is_not_looked_through_soon() -> None:
    with uncollected():
        made = [[] for _ in range(20_000)]  # type: ignore[var-annotated]
    assert gc.get_count()[0] < 100
    assert len(made) == 20_000


def test_what_was_frozen_stays_so() -> None:
    mine: list[object] = []
    gc.freeze()
    try:
        with uncollected():
            pass
        assert all(each is not mine for each in gc.get_objects())  # those who are not frozen
    finally:
        gc.unfreeze()
    assert any(each is mine for each in gc.get_objects())
