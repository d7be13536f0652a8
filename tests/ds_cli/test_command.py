"""A command from its flags to its exit code, on a small command of the test's own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer

from deepseek.errors import GateError, InputError
from deepseek.units import parse_bytes, parse_share
from ds_cli.command import Command
from ds_cli.console import Talk
from ds_cli.main import run
from ds_cli.outcome import Outcome


@dataclass(kw_only=True, slots=True, frozen=True)
class Window:
    size: Annotated[int, "Records in a window."] = 8


@dataclass(kw_only=True, slots=True, frozen=True)
class SiftConfig:
    source: Annotated[Path, "Where the records are."]
    max_drop: Annotated[float, "Largest loss.", parse_share] = 0.005
    shard_size: Annotated[int | None, "Largest file.", parse_bytes] = None
    method: Annotated[Literal["fine_grained", "coarse"], "How to sift."] = "coarse"
    model_config: Annotated[Path | None, "The model's configuration."] = None
    tags: Annotated[tuple[str, ...], "Labels to keep."] = ()
    overwrite: Annotated[bool, "Replace what is there."] = False
    check: Annotated[bool, "Check the result."] = True
    window: Window = Window()


def sift(config: SiftConfig, talk: Talk) -> Outcome:
    """Sift the records of a file."""
    name = config.source.name
    if name == "missing":
        raise InputError("expected records, found none", hint="give some")
    if name == "gate":
        raise GateError("expected a loss below 1%, got 2%")
    if name == "defect":
        raise RuntimeError("two\nlines")
    if name == "interrupt":
        raise KeyboardInterrupt
    if name == "denied":
        raise PermissionError(13, "Permission denied", "denied")
    talk.say("sifting")
    document = {
        "schema": "test.sift/1",
        "max_drop": config.max_drop,
        "shard_size": config.shard_size,
        "method": config.method,
        "tags": list(config.tags),
        "model_config": None if config.model_config is None else str(config.model_config),
        "overwrite": config.overwrite,
        "check": config.check,
        "window": config.window.size,
    }
    return Outcome(document=document, view=f"sifted {name}", passed=name != "failed")


COMMAND = Command(name="sift", config=SiftConfig, run=sift, positional=("source",))


def call(*arguments: str) -> int:
    return run(COMMAND.to_typer(), "deepseek-sift", list(arguments))


def document_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert call(*arguments, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert document_of(capsys, "x") == {
        "schema": "test.sift/1",
        "max_drop": 0.005,
        "shard_size": None,
        "method": "coarse",
        "tags": [],
        "model_config": None,
        "overwrite": False,
        "check": True,
        "window": 8,
    }


def test_every_kind_of_flag(capsys: pytest.CaptureFixture[str]) -> None:
    found = document_of(
        capsys, "x", "--max_drop", "1%", "--shard-size", "2GB", "--method", "fine-grained",
        "--tags", "a", "--tags", "b", "--overwrite", "--no-check", "--window.size", "3",
    )  # fmt: skip
    assert found["max_drop"] == 0.01
    assert found["shard_size"] == 2_000_000_000
    assert found["method"] == "fine_grained"
    assert found["tags"] == ["a", "b"]
    assert found["overwrite"] is True
    assert found["check"] is False
    assert found["window"] == 3


def test_preset_file_environment_flag_order(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sift.toml"
    file.write_text('max_drop = "1%"\nmethod = "fine_grained"\n[window]\nsize = 1\n')
    from_file = document_of(capsys, "x", "--config", str(file))
    assert (from_file["max_drop"], from_file["window"]) == (0.01, 1)

    monkeypatch.setenv("DEEPSEEK_SIFT_MAX_DROP", "2%")
    monkeypatch.setenv("DEEPSEEK_SIFT_WINDOW__SIZE", "2")
    from_environment = document_of(capsys, "x", "--config", str(file))
    assert (from_environment["max_drop"], from_environment["window"]) == (0.02, 2)
    assert from_environment["method"] == "fine_grained"

    by_flag = document_of(
        capsys, "x", "--config", str(file), "--max_drop=3%", "--set", "window.size=3"
    )
    assert (by_flag["max_drop"], by_flag["window"]) == (0.03, 3)


def test_print_config_is_taken_back(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call("x", "--tags", "a", "--method", "fine_grained", "--print_config") == 0
    text = capsys.readouterr().out
    assert 'method = "fine_grained"  # the command line' in text
    assert "# shard_size is not set  # default" in text
    file = tmp_path / "again.toml"
    file.write_text(text)
    found = document_of(capsys, "y", "--config", str(file))
    assert (found["tags"], found["method"]) == (["a"], "fine_grained")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--max_drop", "abc"], "expected a quantity such as 0.5%"),
        (["x", "--max_drop", "200%"], "expected a share between 0% and 100%"),
        (["x", "--window.size", "many"], "expected a valid integer"),
        (["x", "--method", "corse"], "did you mean coarse?"),
        (["x", "--set", "widow.size=1"], "did you mean window.size?"),
        (["x", "--set", "window"], "expected --set key=value, got 'window'"),
        (["x", "--config", "nowhere.toml"], "expected a readable file for --config"),
        (["x", "--preset", "fast"], "expected a preset of sift (there are: none), got 'fast'"),
        (["x", "--overwritten"], "no such option: --overwritten"),
        (["x", "y"], "unexpected extra argument"),
        ([], "expected a value for SOURCE, found none"),
        (["missing"], "expected records, found none"),
        (["denied"], "denied: Permission denied"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert call(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert [line.split(":")[0] for line in err.splitlines()] in (["error"], ["error", "hint"])


def test_unknown_environment_variable_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_SIFT_MAX_DORP", "1%")
    assert call("x") == 2
    err = capsys.readouterr().err
    assert "DEEPSEEK_SIFT_MAX_DORP" in err
    assert "did you mean max_drop?" in err


def test_config_takes_settings_and_the_configuration_of_a_model(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "sift.toml"
    file.write_text("window.size = 4\n")
    found = document_of(capsys, "x", "--config", str(file), "--config", "model/config.json")
    assert (found["window"], found["model_config"]) == (4, "model/config.json")

    assert call("x", "--config", "a.json", "--config", "b.json") == 2
    assert "expected one model configuration, got 2" in capsys.readouterr().err


def test_broken_toml(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("max_drop = \n")
    assert call("x", "--config", str(file)) == 2
    assert "expected TOML in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code"), [("ok", 0), ("failed", 1), ("gate", 1), ("defect", 3), ("interrupt", 130)]
)
def test_exit_codes(capsys: pytest.CaptureFixture[str], name: str, code: int) -> None:
    assert call(name) == code


def test_a_defect_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    call("defect")
    assert capsys.readouterr().err.splitlines()[0] == "error: unexpected RuntimeError: two lines"


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("defect", "--debug") == 3
    assert "Traceback" in capsys.readouterr().err


def test_talk_goes_to_stderr_and_quiet_stops_it(capsys: pytest.CaptureFixture[str]) -> None:
    call("x")
    assert capsys.readouterr() == ("sifted x\n", "sifting\n")
    call("x", "--quiet")
    assert capsys.readouterr() == ("sifted x\n", "")


def test_help_shows_the_underscore_form_defaults_and_choices(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert call("--help") == 0
    text = capsys.readouterr().out
    for word in (
        "--max_drop",
        "0.005",
        "fine_grained|coarse",
        "--print_config",
        "Sift the records",
    ):
        assert word in text


def test_choices_complete() -> None:
    app = COMMAND.to_typer()
    command = typer.main.get_command(app)
    method = next(p for p in command.params if p.name == "method")
    context = command.make_context("deepseek-sift", ["x"], resilient_parsing=True)
    assert [item.value for item in method.shell_complete(context, "co")] == ["coarse"]
