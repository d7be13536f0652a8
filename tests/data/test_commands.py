"""``deepseek data pack`` and ``deepseek data inspect`` from flags to exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

from ds_cli.main import load, run


def call(name: str, *arguments: str) -> int:
    return run(load(name).to_typer(), f"deepseek {name}", list(arguments))


def document(capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert call(name, *arguments, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    rows = [{"text": f"Nummer {number} 股", "label": number % 2} for number in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def packed(texts: Path) -> Path:
    output = texts.with_name("out")
    assert call("data pack", str(texts), "--output", str(output), "--shard-size", "200B") == 0
    return output


def test_packing(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(texts.with_name("out"))
    found = document(capsys, "data pack", str(texts), "--output", output)
    assert found["schema"] == "deepseek.data-pack/1"
    assert (found["records"], found["rows"], found["empty"]) == (40, 40, 0)
    assert [field["name"] for field in found["fields"]] == ["tokens", "label"]
    assert call("data pack", str(texts), "--output", output) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "exists already" in err
    assert "hint: give --overwrite" in err


def test_packing_for_people(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(texts.with_name("out"))
    assert call("data pack", str(texts), "--output", output, "--pack_length", "64") == 0
    out, err = capsys.readouterr()
    assert "tokens: uint16[64]" in out
    assert "did not fill the last sequence" in out
    assert err == ""


def test_an_interruption_says_how_to_go_on(
    texts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepseek.data.packing import pack

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    arguments = [str(texts), "--output", str(texts.with_name("out")), "--shard-size", "200B"]
    with monkeypatch.context() as patch:
        patch.setattr(pack, "write_index", stop)
        assert call("data pack", *arguments) == 130
    assert "--resume goes on with it" in capsys.readouterr().err
    assert document(capsys, "data pack", *arguments, "--resume")["resumed"] > 0


def test_inspecting(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "data inspect", str(packed), "--verify", "--start", "-1")
    assert found["schema"] == "deepseek.data-inspect/1"
    assert found["records"] == 40
    assert len(found["shards"]) > 1
    assert (found["verified"], found["damages"]) == (True, [])
    (shown,) = found["shown"]
    assert (shown["record"], shown["text"]) == (39, "Nummer 39 股")
    assert shown["fields"]["label"] == {"shape": [], "first": [1]}


def test_inspecting_for_people(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call("data inspect", str(packed), "--records", "1", "--verify") == 0
    out = capsys.readouterr().out
    for words in ("40 records", "tokens: uint16[*]", "record 0", "text: 'Nummer 0 股'",
                  "every block has its checksum"):  # fmt: skip
        assert words in out


def test_inspecting_one_shard(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "data inspect", str(packed / "00000.packed"), "--records", "0")
    assert found["shown"] == []
    assert found["meta"] == {}


def test_damage_is_a_missed_gate(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = packed / "00001.packed"
    content = bytearray(path.read_bytes())
    content[4100] ^= 1
    path.write_bytes(content)
    assert call("data inspect", str(packed)) == 0
    capsys.readouterr()
    assert call("data inspect", str(packed), "--verify") == 1
    out = capsys.readouterr().out
    assert f"{path}: checksum differs in the" in out
    assert "record 0" not in out


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_what_cannot_be_opened(
    packed: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = packed / "00000.packed"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    capsys.readouterr()
    assert call("data inspect", str(packed)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {path}: expected")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data pack", "topics"], "expected a value for --output, found none"),
        (["data pack", "nowhere", "--output", "x"], "found nothing at nowhere"),
        (["data pack", "topics", "--output", "x", "--pack_length", "1"], "of at least 2, got 1"),
        (["data pack", "topics", "--output", "x", "--dtype", "int7"], "expected one of auto"),
        (["data inspect"], "expected a value for PATH, found none"),
        (["data inspect", "nowhere"], "found nothing at nowhere"),
    ],
)
def test_wrong_use(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert [line.split(":")[0] for line in err.splitlines()] in (["error"], ["error", "hint"])
    assert list(tmp_path.iterdir()) == []
