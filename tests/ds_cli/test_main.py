"""The table of commands and the programs that stand on it."""

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ds_cli.main import COMMANDS, main


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture(autouse=True)
def keep_signal_handlers() -> object:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_no_arguments_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of() == 0
    out = capsys.readouterr().out
    assert [name for name in COMMANDS if name.split()[0] not in out] == []


def test_version_names_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--version") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"deepseek-toolkit {version('deepseek-toolkit')}"
    assert f"torch {version('torch')}" in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["docter"], "did you mean 'doctor'?"),
        (["data", "pak"], "did you mean 'pack'?"),
        (["data", "--verson"], "no such option: --verson"),
        (["data", "pack", "--wokers", "1"], "no such option: --wokers"),
        (["--verson"], "no such option: --verson"),
        (["doctor", "--profil", "cpu"], "no such option: --profil"),
    ],
)
def test_wrong_use(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert code_of(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message.lower() in err.lower()
    assert len(err.splitlines()) == 2


def test_a_group_without_a_command_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("data") == 0
    out = capsys.readouterr().out
    assert "Usage: deepseek data" in out
    assert [name for name in ("inspect", "pack") if name not in out] == []


def test_a_command_of_two_words_is_found_and_configured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_DATA_PACK_WORKERS", "3")
    assert code_of("data", "pack", "topics", "--output", "x", "--print_config") == 0
    out = capsys.readouterr().out
    assert out.startswith("# deepseek data pack\n")
    assert "workers = 3  # the environment" in out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    program = str(Path(sys.executable).with_name("deepseek"))
    environ = {**os.environ, "_DEEPSEEK_COMPLETE": f"source_{shell}"}
    run = subprocess.run([program], env=environ, capture_output=True, text=True, check=False)
    assert "deepseek" in run.stdout


@pytest.mark.parametrize(
    ("words", "expected"), [("deepseek do", ["doctor"]), ("deepseek data pa", ["pack"])]
)
def test_commands_complete(words: str, expected: list[str]) -> None:
    program = str(Path(sys.executable).with_name("deepseek"))
    environ = {
        **os.environ,
        "_DEEPSEEK_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    run = subprocess.run([program], env=environ, capture_output=True, text=True, check=False)
    assert run.stdout.split() == expected
