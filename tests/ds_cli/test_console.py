"""stdout is data, stderr is talk."""

import json
from io import StringIO

import pytest
from rich.table import Table

from deepseek.progress import silent
from ds_cli.console import Talk
from ds_cli.outcome import Outcome


def wide_table() -> Table:
    table = Table("name", "value")
    table.add_row("x" * 60, "y" * 60)
    return table


def test_a_pipe_keeps_rows_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    Talk().result(Outcome(document={}, view=wide_table()))
    assert any(
        "x" * 60 in line and "y" * 60 in line for line in capsys.readouterr().out.split("\n")
    )


def test_json_is_one_document_in_utf8(capsys: pytest.CaptureFixture[str]) -> None:
    Talk(as_json=True).result(Outcome(document={"text": "股市"}, view="never shown"))
    out = capsys.readouterr().out
    assert json.loads(out) == {"text": "股市"}
    assert "股市" in out


def test_no_colour_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Talk().error("expected [bold]a[/], got b", hint="give a")
    assert capsys.readouterr().err == "error: expected [bold]a[/], got b\nhint: give a\n"


def test_long_errors_stay_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    Talk().error("word " * 40)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_progress_is_silent_without_a_terminal() -> None:
    with Talk().progress() as progress:
        assert progress is silent


def test_bars_draw_one_bar_for_each_stage() -> None:
    from rich.console import Console

    from ds_cli.bars import Bars

    stream = StringIO()
    console = Console(file=stream, force_terminal=True, width=100)
    with Bars(console) as bars:
        bars("reading", 1, 2)
        bars("reading", 2, 2)
        bars("writing", 0, None)
        assert len(bars._progress.tasks) == 2
    assert "reading" in stream.getvalue()
