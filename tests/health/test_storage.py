import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deepseek.health.check import Observation
from deepseek.health.checks import CHECKS
from deepseek.health.checks.storage import cache_folder
from deepseek.health.machine import Machine, ProbeFailure
from deepseek.health.programs import Ran

Fake = Callable[..., Machine]
BY_ID = {check.id: check for check in CHECKS}


def look(machine: Machine, check: str) -> Observation:
    return BY_ID[check].look(machine)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"DEEPSEEK_CACHE": "/big/cache", "XDG_CACHE_HOME": "/x"}, "/big/cache"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/home/me"}, "/x/deepseek"),
        ({"HOME": "/home/me"}, "/home/me/.cache/deepseek"),
        ({"DEEPSEEK_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/me"}, "/me/.cache/deepseek"),
    ],
)
def test_where_the_cache_is(fake: Fake, environ: dict[str, str], folder: str) -> None:
    assert cache_folder(fake(environ=environ)) == Path(folder)


def real(folder: Path) -> Machine:
    return Machine(environ={"DEEPSEEK_CACHE": str(folder), "PATH": os.defpath})


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    seen = look(real(tmp_path), "cache")
    assert (seen.value, seen.found) == (True, f"{tmp_path} can be written")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_created(tmp_path: Path) -> None:
    seen = look(real(tmp_path / "a" / "b"), "cache")
    assert seen.value is True
    assert seen.found.endswith("can be written, will be created")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    seen = look(real(tmp_path / "taken"), "cache")
    assert seen.value is False
    assert "is not a folder" in seen.found
    assert "DEEPSEEK_CACHE" in seen.fix


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="needs a file system nobody can write")
def test_a_folder_that_cannot_be_written() -> None:
    seen = look(real(Path("/proc/sys/kernel")), "cache")
    assert seen.value is False
    assert "/proc/sys/kernel: " in seen.found


def test_space_is_that_of_the_folder(tmp_path: Path) -> None:
    seen = look(real(tmp_path / "new"), "disk")
    assert isinstance(seen.value, int)
    assert 0 < seen.value < 2**60
    assert "du -sh" in seen.fix


def test_a_file_system_that_hangs(fake: Fake) -> None:
    slow = {"folder": Ran(code=None, overdue=True)}
    machine = fake({}, slow, environ={"DEEPSEEK_CACHE": "/net/cache"})
    for check in ("cache", "disk"):
        with pytest.raises(ProbeFailure, match=r"^/net/cache: no answer within 4 s$") as caught:
            look(machine, check)
        assert caught.value.overdue


def test_a_name_that_is_no_text_can_still_be_shown(fake: Fake) -> None:
    answer = {"folder": {"there": False, "free": 5, "total": 9, "error": "x\x1b[31m"}}
    machine = fake({}, answer, environ={"DEEPSEEK_CACHE": "/c\udcff\x1b[31m/d"})
    found = look(machine, "cache").found
    assert found.isprintable()
    assert found.encode()


def test_the_folder_is_looked_at_once(tmp_path: Path) -> None:
    calls = []

    def run(command: list[str], environ: object, limit: float) -> Ran:
        calls.append(command)
        assert command[0] == sys.executable
        return Ran(code=0, out='{"there": true, "free": 5, "total": 9, "error": null}')

    machine = Machine(environ={"DEEPSEEK_CACHE": "/c"}, run=run)  # type: ignore[arg-type]
    assert look(machine, "cache").value is True
    assert look(machine, "disk").value == 5
    assert len(calls) == 1
