"""``deepseek convert`` as a user meets it: exit codes, streams, what is left on the disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from transformers.utils import logging as transformers_logging

from deepseek.formats.writers import safetensors_file
from ds_cli.main import main

_PROGRAM = "from ds_cli.main import convert; convert()"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT classifier."""
    folder = tmp_path_factory.mktemp("models") / "bert"
    torch.manual_seed(1)
    transformers_logging.disable_progress_bar()
    transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=90,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
        )
    ).save_pretrained(folder)
    return folder


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["convert", *map(str, arguments)])
    assert isinstance(end.value.code, int)
    return end.value.code


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_conversion_shows_files_and_comparison(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(model, tmp_path / "m.safetensors") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "m.safetensors" in out
    assert "tensors compared bit for bit: 41" in out
    assert "every gate passed" in out
    assert _names(tmp_path) == {"m.safetensors", "m.safetensors.report.json"}


def test_json_is_the_report(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(model, tmp_path / "m.pt", "--json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    document = json.loads(out)
    assert document["schema"] == "deepseek.convert/1"
    assert document == json.loads((tmp_path / "m.pt.report.json").read_text())


@pytest.mark.parametrize("width", ["80", "200"])
def test_onnx_shows_every_input_within_the_width(
    width: str, model: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", width)
    assert _run(model, tmp_path / "m.onnx", "--opset", 17) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= int(width)
    for text in ("1 x 1", "1 x 7", "5 x 33, padded left", "max abs", "argmax", "100.00%",
                 "BertForSequenceClassification", "opset 17"):  # fmt: skip
        assert text in " ".join(out.split())
    assert "cosine" not in out


def test_a_dry_run_lists_tensors_and_writes_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(model, tmp_path / "m", "--dry-run", "--dtype", "bf16", "--shard-size", "10kB") == 0
    out, err = capsys.readouterr()
    assert "larger than the shard size" in out
    assert "model-00001-of-" in out
    assert "classifier.weight" in out
    assert "2 x 32" in out
    assert "bfloat16" in out
    assert "nothing was written" in out
    assert err == ""
    assert _names(tmp_path) == set()


_WRONG: dict[str, tuple[list[str], str, str]] = {
    "no such source": (["{tmp}/no.pt", "{tmp}/m.pt"], "found nothing at", ""),
    "empty folder": (["{tmp}/void", "{tmp}/m.pt"], "expected a checkpoint, found none", ""),
    "unknown ending": (["{model}", "{tmp}/m.tflite"], "expected DEST to end in one of", "--to"),
    "contradiction": (["{model}", "{tmp}/m.onnx", "--to", "torch"], "DEST for torch to end in", ""),
    "opset": (["{model}", "{tmp}/m.onnx", "--opset", "9"], "--opset 14 to 23, got 9", ""),
    "opset text": (["{model}", "{tmp}/m.onnx", "--opset", "new"], "opset", ""),
    "dtype": (["{model}", "{tmp}/m.pt", "--dtype", "fp17"], "fp32, fp16, bf16, got 'fp17'", "mean"),
    "onnx dtype": (["{model}", "{tmp}/m.onnx", "--dtype", "bf16"], "does not compute in", "fp32"),
    "stray option": (["{model}", "{tmp}/m.pt", "--opset", "17"], "--opset is for onnx", ""),
    "misspelt": (["{model}", "{tmp}/m.pt", "--shardsize", "1"], "no such option", ""),
    "shard size": (["{model}", "{tmp}/m", "--shard_size", "big"], "a quantity such as", ""),
    "rename": (["{model}", "{tmp}/m.pt", "--map", "bret=x"], "matches no tensor name", "bert?"),
    "collision": (["{model}", "{tmp}/m.pt", "--map", "re:.*=x"], "two tensors the name x", ""),
    "no parent": (["{model}", "{tmp}/a/b/m.pt"], "expected a folder to write m.pt into", "mkdir"),
    "onto itself": (["{model}", "{model}"], "another place than SOURCE", ""),
    "into itself": (["{model}", "{model}/out"], "lies inside", ""),
    "missing dest": (["{model}"], "dest", ""),
    "taken": (["{model}", "{tmp}/void"], "exists already", "--overwrite"),
}  # fmt: skip


@pytest.mark.parametrize("case", _WRONG)
def test_wrong_use_is_one_line_and_writes_nothing(
    case: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message, hint = _WRONG[case]
    (tmp_path / "void").mkdir()
    before = _names(model)
    texts = [text.format(tmp=tmp_path, model=model) for text in arguments]
    assert _run(*texts) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0].startswith("error: ")
    assert message.lower() in lines[0].lower()
    assert len(lines) <= 2
    assert hint in "".join(lines[1:])
    assert _names(tmp_path) == {"void"}
    assert _names(model) == before


def test_an_existing_output_is_replaced_only_when_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(model, tmp_path / "m") == 0
    (tmp_path / "m/old").write_text("")
    assert _run(model, tmp_path / "m") == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "m/old").exists()
    assert _run(model, tmp_path / "m", "--overwrite") == 0
    assert not (tmp_path / "m/old").exists()


def test_a_folder_of_something_else_is_never_replaced(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1.tex").write_text("years")
    assert _run(model, tmp_path / "thesis", "--overwrite") == 2
    assert "it is not replaced" in capsys.readouterr().err
    assert (tmp_path / "thesis/chapter1.tex").read_text() == "years"


def _sabotage(monkeypatch: pytest.MonkeyPatch) -> None:
    write = safetensors_file._write_tensor

    def flip(file: Any, name: str, info: Any, content: Any) -> None:
        write(file, name, info, [-piece for piece in content])

    monkeypatch.setattr(safetensors_file, "_write_tensor", flip)


@pytest.mark.parametrize("json_", [False, True])
def test_a_missed_gate_exits_1_and_leaves_nothing(
    json_: bool, model: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    _sabotage(monkeypatch)
    assert _run(model, tmp_path / "m.safetensors", *(["--json"] if json_ else [])) == 1
    out, err = capsys.readouterr()
    assert "--allow_mismatch keeps it" in err
    if json_:
        document = json.loads(out)
        assert (document["passed"], document["kept"]) == (False, False)
        assert "different from the source" in document["parity"]["misses"][0]
    else:
        assert "missed: different from the source, of 41 tensors: " in out
        assert "every gate passed" not in out
    assert _names(tmp_path) == set()


def test_a_mismatch_is_kept_when_told_and_still_exits_1(
    model: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    _sabotage(monkeypatch)
    assert _run(model, tmp_path / "m.safetensors", "--allow_mismatch") == 1
    assert "kept because of --allow_mismatch" in capsys.readouterr().out
    assert json.loads((tmp_path / "m.safetensors.report.json").read_text())["passed"] is False


def test_a_full_disk_is_one_line_and_leaves_nothing(model: Path, tmp_path: Path) -> None:
    """Files larger than some kilobytes are refused by the system, for every target."""
    program = """
import resource, sys
from ds_cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for dest in ("m.pt", "m.safetensors", "m", "m.onnx"):
    more = ["--opset", "17"] if dest == "m.onnx" else []
    try:
        main(["convert", sys.argv[1], f"{sys.argv[2]}/{dest}", *more])
    except SystemExit as end:
        print(dest, end.code)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(model), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split() == ["m.pt", "2", "m.safetensors", "2", "m", "2", "m.onnx", "2"]
    lines = ran.stderr.splitlines()
    assert len(lines) == 8
    for line in lines[::2]:
        assert line.startswith("error: cannot write ")
        assert "File too large" in line
    assert _names(tmp_path) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_exits_130_and_leaves_nothing(
    number: signal.Signals, model: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(model), str(tmp_path / "m.onnx")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 60
        while not list(tmp_path.glob(".deepseek-*")) and time.monotonic() < end:
            time.sleep(0.02)
        assert list(tmp_path.glob(".deepseek-*"))
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err) == (b"", b"error: interrupted\n")
    assert _names(tmp_path) == set()


def test_a_reader_that_leaves_is_no_error(model: Path, tmp_path: Path) -> None:
    command = f'"{sys.executable}" -c "{_PROGRAM}" "{model}" "{tmp_path}/m.pt" | true'
    ran = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=os.environ
    )
    assert ran.stderr == ""
    assert (tmp_path / "m.pt").exists()


def test_the_models_configuration_may_be_given(model: Path, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(model / "model.safetensors")
    torch.save(state, tmp_path / "bert.ckpt")
    assert _run(tmp_path / "bert.ckpt", tmp_path / "a", "--config", model / "config.json") == 0
    assert (
        _run(tmp_path / "bert.ckpt", tmp_path / "b", "--model_config", model / "config.json") == 0
    )
    for name in "ab":
        loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / name)
        assert torch.equal(loaded.state_dict()["classifier.weight"], state["classifier.weight"])
