"""``deepseek train`` as a user meets it: exit codes, streams, what is left on the disk."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepseek.data.packed.field import Field
from deepseek.data.packed.writer import PackedWriter
from deepseek.training.metrics import read_metrics
from ds_cli.main import main

PROGRAM = "from ds_cli.main import train; train()"
SMALL = (
    "num_hidden_layers=2", "hidden_size=16", "intermediate_size=32", "num_attention_heads=2",
    "max_position_embeddings=16", "vocab_size=40",
)  # fmt: skip


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed set of 60 records of 16 tokens."""
    dest = tmp_path_factory.mktemp("data") / "tokens"
    with PackedWriter(dest, [Field("tokens", "int32", (16,))]) as writer:
        for record in range(60):
            writer.write({"tokens": [(record + 3 * place) % 40 for place in range(16)]})
    return dest


def small(tokens: Path, output: Path) -> list[str]:
    options = [f"--model_options={option}" for option in SMALL]
    return ["--data", str(tokens), *options, "--output", str(output), "--batch_size", "8"]


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["train", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_json_on_stdout_talk_on_stderr(
    tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = [*small(tokens, run), "--steps", "4", "--log_every", "2", "--json"]
    assert call(*arguments) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["schema"] == "deepseek.train/1"
    assert report["step"] == 4
    assert json.loads((run / "report.json").read_text()) == report
    assert re.search(r"step 2/4  loss \d\.\d+  rate \S+  [\d,]+ tokens/s", err)
    assert "held-out loss" in err
    assert {path.name for path in run.iterdir()} == {
        "train.toml", "metrics.jsonl", "checkpoints", "model", "report.json"
    }  # fmt: skip


def test_the_written_configuration_starts_the_same_run_again(
    tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert call(*small(tokens, first), "--steps", "3", "--optimizer.lr", "0.02") == 0
    again = ["--config", str(first / "train.toml"), "--output", str(second)]
    assert call(*again) == 0
    curves = [
        [row["loss"] for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "train"]
        for run in (first, second)
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 3
    assert "lr = 0.02" in (second / "train.toml").read_text()
    capsys.readouterr()
    assert call("--config", str(second / "train.toml"), "--resume", "--steps", "5") == 0
    assert "steps was 3, is 5" in capsys.readouterr().err


def test_an_existing_run_ends_with_exit_code_2(
    tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "train.toml").write_text("")
    assert call(*small(tokens, run)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{run} exists already" in err
    assert "hint: --resume goes on with it, --overwrite replaces it" in err
    assert [path.name for path in run.iterdir()] == ["train.toml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stepz", "3"), "no such option"),
        (("--set", "optimizer.rl=3"), "unknown key 'optimizer.rl'"),
        (("--precision", "fp8"), "expected one of fp32, bf16, fp16, got 'fp8'"),
        (("--pipeline_stages", "3", "--batch_size", "6"), "at most 2"),
        (("--data", "/no/such"), "found nothing at /no/such"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_bad_input_ends_with_one_line_and_exit_code_2(
    tokens: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    run = tmp_path / "run"
    assert call(*small(tokens, run), *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err.lower().replace("data", "data") or message in err
    assert "Traceback" not in err
    assert not run.exists()


def test_a_plan_trains_nothing(
    tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*small(tokens, tmp_path / "run"), "--plan", "--nproc", "2") == 0
    out, _ = capsys.readouterr()
    assert "activations" in out
    assert "2 replicas" in out
    assert not (tmp_path / "run").exists()


def test_a_polite_kill_saves_before_it_leaves(tokens: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(*small(tokens, run), "--steps", "100000", "--eval_every", "0")
    deadline = time.monotonic() + 120
    while not read_metrics(run / "metrics.jsonl"):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    last = read_metrics(run / "metrics.jsonl")[-1]
    assert last["kind"] == "checkpoint"
    assert (run / "checkpoints" / "latest").read_text() == f"step-{last['step']:08d}\n"
    assert f"asked to stop at step {last['step']}; saved, go on with --resume" in err
    assert "Traceback" not in err


def test_what_is_trained_when_nothing_is_said_can_be_converted_and_quantized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPSEEK_CACHE", str(tmp_path / "cache"))
    assert call("--steps", "2", "--eval_every", "0") == 0
    model = Path("runs/small_gpt-1/model")
    texts = [f"The number {n} is followed by the number {n + 1}." for n in range(60)]
    Path("texts.txt").write_text("\n".join(texts))
    for words in (
        ["convert", str(model), "model.onnx"],
        ["quantize", "--model", str(model), "--calib_data", "texts.txt", "--output", "int8",
         "--allow_drop", "--smallest", "--search", "never"],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code in ((0,) if words[0] == "convert" else (0, 1))
    report = json.loads(Path("int8/report.json").read_text())
    assert len(report["layers"]) == 8 * 4 + 1
