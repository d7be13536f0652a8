"""Texts joined and cut: nothing is lost but the end, and the parts are where texts are."""

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deepseek.data.packed.field import Field
from deepseek.data.packing.sequences import Place, SequencePacker

TEXTS = st.lists(st.integers(1, 30), max_size=30)


def packed(
    texts: list[np.ndarray[Any, Any]], length: int, begun: Place
) -> tuple[list[tuple[list[int], list[int], Place]], int]:
    packer = SequencePacker(Field("tokens", "int32", (length,)))
    found = []
    for number, text in enumerate(texts):
        if number < begun.item:
            continue
        start = begun.token if number == begun.item else 0
        for record, place in packer.add(text, number, start):
            found.append((record["tokens"].tolist(), list(record["boundaries"]), place))
    return found, packer.left


def texts_of(lengths: list[int]) -> list[np.ndarray[Any, Any]]:
    """Texts whose tokens say which text they belong to."""
    return [np.full(length, number, np.int64) for number, length in enumerate(lengths)]


@given(lengths=TEXTS, length=st.integers(2, 40))
def test_tokens_stay_in_order_and_parts_are_texts(lengths: list[int], length: int) -> None:
    texts = texts_of(lengths)
    stream = [token for text in texts for token in text.tolist()]
    sequences, left = packed(texts, length, Place())
    assert [token for tokens, _, _ in sequences for token in tokens] == stream[: len(stream) - left]
    assert left == len(stream) % length
    for tokens, boundaries, _ in sequences:
        assert boundaries[0] == 0
        assert boundaries[-1] == length
        parts = [tokens[a:b] for a, b in pairwise(boundaries)]
        assert all(len(set(part)) == 1 for part in parts)
        numbers = [part[0] for part in parts]
        assert numbers == sorted(set(numbers))


@given(lengths=TEXTS, length=st.integers(2, 40), data=st.data())
def test_packing_goes_on_from_any_place(
    lengths: list[int], length: int, data: st.DataObject
) -> None:
    texts = texts_of(lengths)
    sequences, left = packed(texts, length, Place())
    done = data.draw(st.integers(0, len(sequences)))
    place = sequences[done - 1][2] if done else Place()
    assert packed(texts, length, place) == (sequences[done:], left)


def test_places() -> None:
    sequences, left = packed(texts_of([3, 5, 4]), 4, Place())
    assert [place for *_, place in sequences] == [Place(1, 1), Place(2), Place(3)]
    assert left == 0
