"""Sizes of caches, as Linux writes them and where nobody says."""

import pytest

from deepseek.kernels import caches


@pytest.fixture(autouse=True)
def fresh():
    caches.cache_bytes.cache_clear()
    yield
    caches.cache_bytes.cache_clear()


@pytest.mark.parametrize(
    ("text", "size"), [("2048K\n", 2 << 20), ("32M", 32 << 20), ("4096", 4096)]
)
def test_reads_what_the_system_says(tmp_path, monkeypatch, text, size):
    (tmp_path / "index2").mkdir()
    (tmp_path / "index2" / "size").write_text(text)
    monkeypatch.setattr(caches, "_CACHES", tmp_path)
    assert caches.cache_bytes(2) == size


def test_without_a_word_from_the_system(tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "_CACHES", tmp_path)
    assert caches.cache_bytes(2) == 512 << 10
    assert caches.cache_bytes(3) == 32 << 20
