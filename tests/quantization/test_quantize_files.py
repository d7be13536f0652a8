"""From files to a folder: what is written, when, and what is refused before."""

import errno
import json

import pytest
import torch

import deepseek
from deepseek.errors import InputError
from deepseek.quantization.config import QuantizeFilesConfig
from deepseek.quantization.quantize_files import quantize_files


@pytest.fixture
def classifier(tiny):
    return tiny("BertForSequenceClassification")


@pytest.fixture
def config(tmp_path, classifier, checkpoint, dataset, sentences):
    """A classifier, texts with its own answers for labels, and a place to write to."""

    def make(model=None, calib_data=None, **changes):
        return QuantizeFilesConfig(
            model=model or checkpoint(classifier),
            calib_data=calib_data or dataset(classifier, sentences(300)),
            output=tmp_path / "int8_model",
            **{"max_drop": 0.2, **changes},
        )

    return make


def left_behind(tmp_path):
    return {path.name for path in tmp_path.iterdir()} - {"model", "dataset"}


def test_a_checkpoint_becomes_a_folder(tmp_path, config):
    report = quantize_files(config())
    assert report.quality.metric == "accuracy"
    assert report.quality.before == 1.0
    assert report.source.labelled
    assert report.source.held_out == report.quality.n
    assert report.source.calibration + report.source.held_out == pytest.approx(300, abs=20)
    assert report.output == str(tmp_path / "int8_model")
    written = json.loads((tmp_path / "int8_model" / "report.json").read_text())
    assert written == report.to_document()
    assert left_behind(tmp_path) == {"int8_model"}
    assert deepseek.load(tmp_path / "int8_model").config.num_labels == 3


def test_named_files_are_respected(config, dataset, classifier, sentences):
    dataset(classifier, sentences(60, seed=2), "test.jsonl")
    given = config(calib_data=dataset(classifier, sentences(40, seed=1), "train.jsonl"))
    report = quantize_files(given)
    assert report.source.held_out == report.quality.n == len({*sentences(60, seed=2)})
    assert report.source.calibration <= 40


def test_a_loss_over_the_budget_writes_nothing(tmp_path, config, classifier, spoil):
    spoil(classifier)
    report = quantize_files(config(max_drop=0.005))
    assert not report.quality.passed
    assert report.output is None
    assert left_behind(tmp_path) == set()


def test_allow_drop_writes_it_all_the_same(tmp_path, config, classifier, spoil):
    spoil(classifier)
    report = quantize_files(config(max_drop=0.005, allow_drop=True))
    assert not report.quality.passed
    assert not json.loads((tmp_path / "int8_model" / "report.json").read_text())["passed"]


def test_texts_without_labels_are_measured_by_agreement(tmp_path, config, sentences):
    texts = tmp_path / "sentences.txt"
    texts.write_text("\n".join(sentences(50)))
    given = config(calib_data=texts)
    report = quantize_files(given)
    assert report.quality.metric == "agreement"
    assert not report.source.labelled


def test_labels_of_a_model_without_classes_are_not_looked_at(
    tmp_path, config, tiny, checkpoint, sentences
):
    given = config(model=checkpoint(tiny("BertModel")))
    rows = "".join(f'{{"text": "{text}", "label": "any"}}\n' for text in sentences(50))
    (tmp_path / "dataset" / "all.jsonl").write_text(rows)
    assert quantize_files(given).quality.metric == "cosine"


def test_rows_without_text_are_told_of(config):
    given = config()
    with (given.calib_data / "all.jsonl").open("a") as file:
        file.write('{"text": "", "label": 0}\n')
    assert "1 rows without text were passed over" in quantize_files(given).notes


def test_samples_is_a_limit(config):
    assert quantize_files(config(samples=30)).quality.n == 30


def refused(tmp_path, config, message, expected=frozenset()):
    with pytest.raises(InputError, match=message) as caught:
        quantize_files(config)
    assert "\n" not in caught.value.message
    assert left_behind(tmp_path) == expected
    return caught.value


def test_no_tokenizer(tmp_path, config):
    given = config()
    for path in given.model.parent.glob("tokenizer*"):
        path.unlink()
    error = refused(tmp_path, given, "expected a tokenizer beside")
    assert "--tokenizer" in error.hint


def test_a_tokenizer_elsewhere(config, tokenizer, tmp_path):
    given = config(tokenizer=tmp_path / "model" / "words")
    for path in given.model.parent.glob("tokenizer*"):
        path.unlink()
    tokenizer.save_pretrained(tmp_path / "model" / "words")
    assert quantize_files(given).output


def test_labels_outside_the_classes(tmp_path, config):
    given = config()
    path = given.calib_data / "all.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**row, "label": 7}) + "\n" for row in rows))
    refused(tmp_path, given, r"all\.jsonl:\d+: expected a class from 0 to 2 or its name")


def test_an_output_that_is_there(tmp_path, config):
    (tmp_path / "int8_model").mkdir()
    (tmp_path / "int8_model" / "mine.txt").write_text("kept")
    refused(tmp_path, config(), "exists already", {"int8_model"})
    assert (tmp_path / "int8_model" / "mine.txt").read_text() == "kept"


def test_overwrite(tmp_path, config):
    given = config()
    quantize_files(given)
    quantize_files(config_with(given, overwrite=True))
    assert left_behind(tmp_path) == {"int8_model"}


def config_with(config, **changes):
    from dataclasses import replace

    return replace(config, **changes)


def test_a_quantized_folder(tmp_path, config):
    given = config()
    quantize_files(given)
    again = config_with(given, model=tmp_path / "int8_model", output=tmp_path / "again")
    refused(tmp_path, again, "quantized already", {"int8_model"})


def test_weights_that_are_not_finite(tmp_path, config, classifier):
    classifier.bert.encoder.layer[0].output.dense.weight.data[0, 0] = torch.nan
    refused(tmp_path, config(), r"layer bert\.encoder\.layer\.0\.output\.dense")


def test_a_bias_that_is_not_finite_shows_in_the_outputs(tmp_path, config, classifier):
    classifier.bert.encoder.layer[0].output.LayerNorm.bias.data[0] = torch.nan
    refused(tmp_path, config(), r"first out of layer bert\.encoder\.layer\.0\.output\.LayerNorm")


@pytest.mark.parametrize("moment", ["quantizing layers", "measuring"])
def test_interrupted_nothing_is_left(tmp_path, config, moment):
    def interrupt(stage, done, total):
        if stage == moment and done > 1:
            raise KeyboardInterrupt

    given = config()
    with pytest.raises(KeyboardInterrupt):
        quantize_files(given, interrupt)
    assert left_behind(tmp_path) == set()


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, config, monkeypatch):
    def write(place, *_):
        place.mkdir()
        (place / "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("deepseek.quantization.quantize_files.write_folder", write)
    error = refused(tmp_path, config(), "cannot write .*int8_model: No space left on device")
    assert "free some space" in error.hint
