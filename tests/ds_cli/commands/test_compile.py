"""``deepseek compile`` as a user meets it."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from ds_cli.main import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT."""
    folder = tmp_path_factory.mktemp("models") / "bert"
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=90, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["compile", *map(str, arguments)])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_for_people_and_for_programs(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, "--output", tmp_path / "program") == 0
    shown = capsys.readouterr().out
    assert "linear float32 32x96 + bias" in shown
    assert "every gate passed" in shown
    assert run(model, "--output", tmp_path / "other", "--precision", "int8", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kernels"]["linear u8s8 32x96 + bias"] == 1 or (
        "linear s16s8 32x96 + bias" in document["kernels"]
    )


def test_a_missed_gate_is_exit_code_1(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [model, "--output", tmp_path / "program", "--precision", "int8"]
    assert run(*arguments, "--max_error", "0.0001%") == 1
    assert "nothing was kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--output", "x"], "nowhere"),
        ([str(Path(__file__).parent)], "--output"),
        ([str(Path(__file__).parent), "--output", "x", "--precision", "fp8"], "fp8"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
