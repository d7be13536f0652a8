"""The object cache: private, checked, bounded, shared by many processes."""

import multiprocessing
import os

import pytest

from deepseek.kernels.cache import ObjectCache, default_cache

CODE = b"object code" * 100


@pytest.fixture
def cache(tmp_path):
    return ObjectCache(tmp_path / "kernels")


def test_returns_what_was_put(cache):
    assert cache.get("key") is None
    assert cache.put("key", CODE)
    assert cache.get("key") == CODE
    assert cache.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:10],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content[:-1] + b"\0",
        lambda content: b"dsk0" + content[4:],
    ],
    ids=["empty", "header cut", "code cut", "longer", "byte changed", "other magic"],
)
def test_damaged_entry_is_dropped(cache, damage):
    cache.put("key", CODE)
    path = cache.directory / "key.o"
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("key") is None
    assert not path.exists()
    cache.put("key", CODE)
    assert cache.get("key") == CODE


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707])
def test_open_directory_is_not_trusted(cache, mode):
    cache.put("key", CODE)
    cache.directory.chmod(mode)
    assert cache.get("key") is None
    assert not cache.put("other", CODE)


def test_link_instead_of_a_directory_is_not_trusted(cache, tmp_path):
    cache.put("key", CODE)
    link = ObjectCache(tmp_path / "link")
    link.directory.symlink_to(cache.directory)
    assert link.get("key") is None


def test_directory_of_another_user_is_not_trusted(cache, monkeypatch):
    cache.put("key", CODE)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert cache.get("key") is None


def test_place_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    cache = ObjectCache(tmp_path / "file" / "kernels")
    assert not cache.put("key", CODE)
    assert cache.get("key") is None


def test_least_recently_used_entries_go(tmp_path):
    cache = ObjectCache(tmp_path / "kernels", limit=5 * (len(CODE) + 36))
    for number in range(5):
        cache.put(f"{number}", CODE)
        os.utime(cache.directory / f"{number}.o", (number, number))
    assert cache.get("0") == CODE  # now the most recently used
    cache.put("5", CODE)
    assert cache.get("1") is None
    assert [n for n in "02345" if cache.get(n) == CODE] == list("02345")


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPSEEK_CACHE", str(tmp_path))
    assert default_cache().directory == tmp_path / "kernels"
    monkeypatch.delenv("DEEPSEEK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache().directory == tmp_path / "xdg" / "deepseek" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache().directory == tmp_path / "home" / ".cache" / "deepseek" / "kernels"


def _hammer(directory, number):
    """Write and read all keys over and over; every read is whole or absent."""
    cache = ObjectCache(directory, limit=30_000)
    for round_ in range(60):
        key = str((number + round_) % 7)
        cache.put(key, key.encode() * 5000)
        for other in map(str, range(7)):
            if cache.get(other) not in (None, other.encode() * 5000):
                raise SystemExit(1)
        if round_ % 10 == number:
            (cache.directory / f"{key}.o").write_bytes(b"half")


def test_eight_processes_at_once(cache):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_hammer, args=(cache.directory, n)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert list(cache.directory.glob(".*.part")) == []
