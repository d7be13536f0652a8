"""Quantities as people write them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.errors import InputError
from deepseek.units import format_bytes, format_seconds, parse_bytes, parse_seconds, parse_share


@pytest.mark.parametrize(
    ("text", "share"), [("0.5%", 0.005), ("0.005", 0.005), (0.25, 0.25), ("100 %", 1.0), (0, 0.0)]
)
def test_shares(text: str | float, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2 * 10**9), ("2 GiB", 2**31), ("512", 512), ("1.5kb", 1500), (7, 7)]
)
def test_bytes(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(("text", "seconds"), [("10min", 600), ("90s", 90), ("1.5h", 5400)])
def test_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "many", "5 apples", "-1", "1.2.3GB", "nan", "1e999"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    for parse in (parse_share, parse_bytes, parse_seconds):
        with pytest.raises(InputError, match="expected a quantity such as"):
            parse(text)


@given(st.text() | st.from_regex(r"[0-9]*\.?[0-9]+(e[0-9]+)?(GB|%|h)?", fullmatch=True))
def test_any_text_is_a_number_or_an_input_error(text: str) -> None:
    for parse in (parse_share, parse_bytes, parse_seconds):
        with suppress(InputError):
            assert parse(text) >= 0


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (90_900_000, "90.9 MB"), (3e13, "30.0 TB")]
)
def test_bytes_for_people(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0032, "3.2 ms"), (12.5, "12.5 s"), (250, "4 min 10 s"), (7260, "2 h 1 min")],
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
