"""``deepseek quantize`` as a user meets it: exit codes, streams, what is left on the disk."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

import deepseek
from ds_cli.main import main

LINE = "--model bert.ckpt --calib_data ./dataset --output int8_model --method dynamic_range"
PROGRAM = "from ds_cli.main import quantize; quantize()"
WORDS = [f"w{number}" for number in range(60)]

torch.set_num_threads(1)  # for models this small a second thread only waits


def save_tokenizer(folder: Path) -> None:
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=40
    ).save_pretrained(folder)


def save_model(folder: Path, name: str = "BertForSequenceClassification") -> None:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=64, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=80, max_position_embeddings=40, architectures=[name],
        id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1},
    )  # fmt: skip
    model = getattr(transformers, name)(config)
    torch.save(model.state_dict(), folder / "bert.ckpt")
    config.to_json_file(folder / "config.json")


def save_texts(folder: Path, count: int = 400) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = ["text,label"]
    for number in range(count):
        words = torch.randint(60, (3 + number % 5,), generator=generator).tolist()
        rows.append(f"{' '.join(WORDS[i] for i in words)},{('bad', 'good')[number % 2]}")
    folder.mkdir()
    (folder / "reviews.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The working folder: a checkpoint, its configuration and tokenizer, and a data set."""
    save_model(tmp_path)
    save_tokenizer(tmp_path)
    save_texts(tmp_path / "dataset")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("DEEPSEEK_QUANTIZE_SMALLEST", "true")  # so small, INT8 is no faster
    return tmp_path


def run(line: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["quantize", *line.split()])
    return int(end.value.code)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def new_names(home: Path) -> set[str]:
    before = {"bert.ckpt", "config.json", "dataset"}
    return {p.name for p in home.iterdir() if not p.name.startswith("tokenizer")} - before


def test_the_line_of_the_article(home):
    done = subprocess.run(  # noqa: PLW1510 - the exit code is asserted on, with the reason shown
        [sys.executable, "-c", PROGRAM, *LINE.split(), "--max_drop", "5%"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "accuracy" in done.stdout
    assert "written to int8_model" in done.stdout
    assert new_names(home) == {"int8_model"}
    modes = {path.name: path.stat().st_mode & 0o777 for path in (home / "int8_model").iterdir()}
    assert set(modes.values()) == {0o666 & ~_umask()}, modes
    assert deepseek.load(home / "int8_model").config.label2id == {"bad": 0, "good": 1}


def test_json_is_the_report(home, capsys):
    assert run(f"{LINE} --json --max_drop 5%") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == ""
    assert document == json.loads((home / "int8_model" / "report.json").read_text())
    assert document["schema"] == "deepseek.quantize/1"
    assert document["source"]["model"] == "bert.ckpt"
    assert document["quality"]["max_drop"] == 0.05
    assert document["output"] == "int8_model"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_lines_fit(home, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    run(f"{LINE} --max_drop 5%")
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= width
    assert any("size" in line and "0." in line and "x" in line for line in lines)


def test_dashes_and_presets(home, capsys):
    line = "--model bert.ckpt --calib-data dataset --output o --max-drop 5% --preset strict"
    assert run(f"{line} --print-config") == 0
    out = capsys.readouterr().out
    assert "max_drop = 0.05" in out
    assert "samples = 20000" in out
    assert new_names(home) == set()


def missed(home: Path) -> None:
    """A loss over the budget: the labels are what the model says, and its layers are spoilt."""
    state = torch.load(home / "bert.ckpt")
    for name, tensor in state.items():
        if name.endswith(("LayerNorm.weight", "LayerNorm.bias")):
            tensor[0] = 0  # this feature says nothing …
        if name.endswith(("query.weight", "intermediate.dense.weight", "pooler.dense.weight")):
            tensor.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
            tensor[:, 0] = 1000  # … and its weights take all steps
    torch.save(state, home / "bert.ckpt")


def test_a_missed_budget_writes_nothing_and_says_so(home, capsys):
    missed(home)
    (home / "dataset" / "reviews.csv").rename(home / "dataset" / "old")
    texts = (home / "dataset" / "old").read_text().splitlines()[1:]
    (home / "dataset" / "a.txt").write_text("\n".join(t.split(",")[0] for t in texts))
    line = f"{LINE} --search never"
    assert run(line) == 1
    out, err = capsys.readouterr()
    assert "missed" in out
    assert "nothing written (--allow_drop keeps the output)" in " ".join(out.split())
    assert err == ""
    assert new_names(home) == set()
    assert run(f"{line} --allow_drop") == 1
    assert "written to int8_model" in capsys.readouterr().out
    assert new_names(home) == {"int8_model"}
    assert run(f"{LINE} --overwrite --max_drop 5%") == 0  # with a search it need not be missed
    assert "in INT8 it costs too much" in capsys.readouterr().out


def test_too_few_texts_to_be_sure(home, capsys):
    texts = (home / "dataset" / "reviews.csv").read_text().splitlines()
    (home / "dataset" / "reviews.csv").write_text("\n".join(texts[:9]))
    assert run(f"{LINE} --max_drop 5%") == 1
    out = capsys.readouterr().out
    assert "undecided" in out
    assert "too few texts to be sure" in out
    assert new_names(home) == set()
    assert run(f"{LINE} --max_drop 5% --allow_drop") == 1
    assert new_names(home) == {"int8_model"}


def test_a_search_that_was_interrupted_goes_on(home, capsys, monkeypatch):
    """What it found out lies beside the output, and is gone when that is there."""
    from deepseek.quantization.search import attempt

    missed(home)
    measure = attempt.measure_sensitivity

    def interrupt(*arguments, **more):
        more["state"].save()
        raise KeyboardInterrupt

    line = f"{LINE} --metric agreement --max_drop 5%"
    monkeypatch.setattr(attempt, "measure_sensitivity", interrupt)
    assert run(line) == 130
    assert new_names(home) == {"int8_model.search.json"}
    monkeypatch.setattr(attempt, "measure_sensitivity", measure)
    capsys.readouterr()
    assert run(f"{line} --resume") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "most sensitive:" in out
    assert "bert.encoder.layer" in out
    assert new_names(home) == {"int8_model"}
    assert run(f"{line} --resume --overwrite") == 2
    assert "expected an interrupted search to resume" in capsys.readouterr().err


def test_no_layer_is_faster(home, capsys, monkeypatch):
    from deepseek.quantization.search.speed import Times

    monkeypatch.setattr("deepseek.quantization.search.speed.time_pair", lambda *_: Times(1.0, 2.0))
    monkeypatch.delenv("DEEPSEEK_QUANTIZE_SMALLEST")
    assert run(LINE) == 1
    err = capsys.readouterr().err
    assert "expected layers that are faster quantized by dynamic_range on this machine" in err
    assert "--smallest" in err
    assert new_names(home) == set()


def test_two_reports_side_by_side(home, capsys):
    assert run(f"{LINE} --max_drop 5%") == 0
    other = LINE.replace("int8_model", "other")
    assert run(f"{other} --max_drop 4%") == 0
    capsys.readouterr()
    assert run("--compare int8_model other --json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["reports"] == ["int8_model", "other"]
    assert document["figures"]["max_drop"] == [0.05, 0.04]
    assert run("--compare int8_model other") == 0
    out = capsys.readouterr().out
    assert "5.00 %" in out
    assert "4.00 %" in out
    assert run("--compare int8_model nowhere") == 2
    assert "expected a report at nowhere" in capsys.readouterr().err


def empty(folder):
    (folder / "dataset" / "reviews.csv").unlink()


def without_text(folder):
    (folder / "dataset" / "reviews.csv").write_text("a,b\n1,2\n3,4\n")


def two_columns(folder):
    (folder / "dataset" / "reviews.csv").write_text("head,tail\nsome words,other words\n")


def label_outside(folder):
    with (folder / "dataset" / "reviews.csv").open("a") as file:
        file.write("w1 w2,ugly\n" * 2)


def latin(folder):
    (folder / "dataset" / "reviews.csv").write_bytes("text\nfine\ncaf\xe9\n".encode("latin-1"))


def no_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()


def nan_weight(folder):
    state = torch.load(folder / "bert.ckpt")
    state["bert.encoder.layer.1.output.dense.weight"][3, 3] = torch.nan
    torch.save(state, folder / "bert.ckpt")


def output_there(folder):
    (folder / "int8_model").write_text("mine")


def nothing(folder):
    pass


BAD = [
    (empty, LINE, "expected a file that ends in .csv"),
    (without_text, LINE, "dataset/reviews.csv: expected a text column (text, sentence, review, "),
    (two_columns, LINE, "found the columns 'head', 'tail'"),
    (label_outside, LINE, "expected a class from 0 to 1 or its name (bad, good), found 'ugly'"),
    (latin, LINE, "dataset/reviews.csv:3: expected UTF-8 text, found byte 0xe9"),
    (no_tokenizer, LINE, "expected a tokenizer beside bert.ckpt, found none"),
    (nan_weight, LINE, "in layer bert.encoder.layer.1.output.dense"),
    (output_there, LINE, "int8_model exists already"),
    (nothing, LINE.replace("bert.ckpt", "missing.ckpt"), "missing.ckpt"),
    (nothing, LINE.replace("./dataset", "./missing"), "found nothing at missing"),
    (nothing, LINE.replace("dynamic_range", "magic"), "--method"),
    (nothing, LINE.replace("--model bert.ckpt", ""), "expected a value for --model, found none"),
    (nothing, LINE.replace("--calib_data ./dataset", ""), "expected a value for --calib_data, fou"),
    (nothing, LINE.replace("--output int8_model", ""), "expected a value for --output, found none"),
    (nothing, LINE.replace("int8_model", "no/such/folder"), "expected a folder to write folder"),
    (nothing, f"{LINE} --max_drop 120%", "expected a share between 0% and 100%"),
    (nothing, f"{LINE} --max_drop little", "--max_drop"),
    (nothing, f"{LINE} --samples 0", "expected --samples of 1 or more, got 0"),
    (nothing, f"{LINE} --text_column words", "expected the column 'words', found the columns"),
    (nothing, f"{LINE} --label_column words", "expected the column 'words', found the columns"),
    (nothing, f"{LINE} --tokenizer dataset", "tokenizer"),
    (nothing, f"{LINE} --no_such 4", "no such option"),
    (nothing, f"{LINE} --preset loose", "expected a preset of quantize (there are: strict)"),
]


@pytest.mark.parametrize(("spoil", "line", "message"), BAD)
def test_bad_input_is_one_line_and_writes_nothing(home, capsys, spoil, line, message):
    spoil(home)
    before = new_names(home)
    assert run(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, *rest = err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert len(rest) <= 1
    assert all(line.startswith("hint: ") for line in rest)
    assert new_names(home) == before


def test_a_model_without_linear_layers(home, capsys):
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8], depths=[1], architectures=["ResNetModel"]
    )
    transformers.ResNetModel(config).save_pretrained(home / "resnet")
    save_tokenizer(home / "resnet")
    assert run(LINE.replace("bert.ckpt", "resnet")) == 2
    err = capsys.readouterr().err
    assert "expected linear layers to quantize, found none in ResNetModel" in err
    assert "int8_model" not in new_names(home)


def test_a_quantized_model_is_refused(home, capsys):
    assert run(f"{LINE} --max_drop 5%") == 0
    again = LINE.replace("bert.ckpt", "int8_model").replace("--output int8_model", "--output more")
    assert run(again) == 2
    assert "found one that is quantized already" in capsys.readouterr().err
    assert "more" not in new_names(home)


def test_parquet_without_pyarrow(home, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (home / "dataset" / "reviews.csv").rename(home / "dataset" / "reviews.parquet")
    assert run(LINE) == 2
    assert "pip install 'deepseek-toolkit[data]'" in capsys.readouterr().err


def test_an_encoder_is_measured_by_cosine(home, capsys):
    save_model(home, "BertModel")
    assert run(f"{LINE} --json") == 0
    quality = json.loads(capsys.readouterr().out)["quality"]
    assert quality["metric"] == "cosine"
    assert 0.99 < quality["lowest"] <= quality["after"] <= 1
    assert quality["agreement"] is None


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_leaves_nothing(home, how):
    """Progress goes to a terminal: once a stage shows, the work is under way."""
    texts = (home / "dataset" / "reviews.csv").read_text().splitlines()
    many = [f"{number} {row}" for number in range(100) for row in texts[1:]]
    (home / "dataset" / "reviews.csv").write_text("\n".join([texts[0], *many]))
    master, slave = pty.openpty()
    line = f"{LINE} --max_drop 5% --batch_size 1 --samples 12000"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *line.split()],
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    os.close(slave)
    said = b""
    deadline = time.monotonic() + 120
    while b"measuring" not in said and time.monotonic() < deadline:
        said += os.read(master, 4096)
    process.send_signal(how)
    while chunk := _read(master):
        said += chunk
    os.close(master)
    assert process.wait(timeout=60) == 130
    assert b"interrupted" in said
    assert new_names(home) == set()
    assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other side is closed
        return b""
