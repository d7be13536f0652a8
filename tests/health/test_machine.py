import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deepseek.health.machine import Machine, ProbeFailure, plain
from deepseek.health.programs import Ran


def answering(ran: Ran) -> Machine:
    return Machine(root=Path("/nowhere"), run=lambda command, environ, limit: ran, environ={})


@pytest.mark.parametrize(
    ("ran", "reason"),
    [
        (
            Ran(code=1, err="Traceback (most recent call last):\n  File x\nImportError: no luck\n"),
            "ImportError: no luck",
        ),
        (
            Ran(
                code=1,
                err="Traceback (most recent call last):\n  a\nKeyError: 1\n\nDuring handling\n\n"
                "Traceback (most recent call last):\n  b\n    c\nValueError: two\n  lines\n",
            ),
            "ValueError: two lines",
        ),
        (Ran(code=-4), "ended by signal 4 (illegal instruction: built for another processor)"),
        (Ran(code=-11, err="junk"), "ended by signal 11 (segmentation fault)"),
        (Ran(code=-31), "ended by signal 31"),
        (Ran(code=7), "exit code 7"),
        (Ran(code=None, err="python: Permission denied"), "python: Permission denied"),
        (Ran(code=None, overdue=True), "no answer within 2 s"),
        (Ran(code=0, out="no facts here"), "the probe jit ended without an answer"),
        (Ran(code=0, out=""), "the probe jit ended without an answer"),
    ],
)
def test_a_probe_that_fails_gives_its_reason_in_one_line(ran: Ran, reason: str) -> None:
    with pytest.raises(ProbeFailure) as caught:
        answering(ran).probe("jit", limit=2)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("load", "addition"),
    [
        ("9.50 4.00 2.00 1/100 42", "; the machine is busy (load 9.50 on 2 processors)"),
        ("3.90 4.00 2.00 1/100 42", ""),
    ],
)
def test_a_busy_machine_is_said_to_be_busy(tmp_path: Path, load: str, addition: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "loadavg").write_text(load)
    machine = Machine(root=tmp_path, environ={}, affinity=frozenset({0, 1}),
                      run=lambda command, environ, limit: Ran(code=None, overdue=True))  # fmt: skip
    with pytest.raises(ProbeFailure) as caught:
        machine.probe("jit", limit=2)
    assert str(caught.value) == f"no answer within 2 s{addition}"


def test_facts_are_found_behind_noise() -> None:
    out = f"banner {{}}\n{json.dumps({'a': 1})}\nbye\n"
    assert answering(Ran(code=0, out=out, err="e")).probe("jit", limit=2) == {"a": 1, "stderr": "e"}


def test_probes_never_look_into_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken over')")
    (tmp_path / "llvmlite.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    assert Machine().probe("jit", limit=20)["version"]


def test_what_was_found_once_is_not_looked_for_again() -> None:
    calls = []

    def slow() -> int:
        calls.append(1)
        time.sleep(0.1)
        return 7

    machine = answering(Ran(code=0))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: machine.once("key", slow), range(8))) == [7] * 8
    assert len(calls) == 1
    assert machine.once("other", lambda: 8) == 8


def test_a_failure_is_remembered_too() -> None:
    calls = []

    def run(command: object, environ: object, limit: float) -> Ran:
        calls.append(command)
        return Ran(code=3)

    machine = Machine(run=run, environ={})
    for _ in range(2):
        with pytest.raises(ProbeFailure, match="exit code 3"):
            machine.probe("jit", limit=1)
    assert len(calls) == 1


def test_files_lie_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "x").write_bytes(b" caf\xe9 \n")
    machine = Machine(root=tmp_path)
    assert machine.text("/proc/x") == "caf\ufffd"
    assert machine.text("/proc/y") is None
    assert machine.text("/proc") is None


def test_plain_text_is_one_printable_line() -> None:
    assert plain("\x1b[1;31mred\x1b[0m\n\tnext\x00 end") == "red next end"
    assert len(plain("x" * 5000)) == 300
    assert plain("x" * 5000).endswith("…")
