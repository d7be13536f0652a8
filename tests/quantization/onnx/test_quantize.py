"""Models become quantized programs, and programs too: what is written, and what is refused."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers

from deepseek.errors import GateError, InputError
from deepseek.formats.exporting.program import export, save
from deepseek.formats.exporting.signature import signature_of
from deepseek.quantization.config import QuantizeFilesConfig
from deepseek.quantization.onnx import attempt
from deepseek.quantization.quantize_files import quantize_files
from deepseek.quantization.search.speed import Times

LAYERS = 13  # of a BERT of two layers: six in each and the pooler; its classifier makes 14


@pytest.fixture
def classifier(tiny):
    return tiny("BertForSequenceClassification")


@pytest.fixture
def config(tmp_path, classifier, checkpoint, dataset, sentences):
    """A classifier, texts with its own answers for labels, and a place to write to."""

    def make(model=None, calib_data=None, output="out", **changes):
        return QuantizeFilesConfig(
            model=model or checkpoint(classifier),
            calib_data=calib_data or dataset(classifier, sentences(120)),
            output=tmp_path / output,
            **{"max_drop": 0.3, "smallest": True, "search": "never", "format": "onnx", **changes},
        )

    return make


def kinds(path):
    program = onnx.load(path)
    onnx.checker.check_model(program)
    return [node.op_type for node in program.graph.node]


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


EXPORTED: dict[str, bytes] = {}


def exported(model, path):
    """The program of a model as ``tiny`` makes it; exported once."""
    name = type(model).__name__
    if name not in EXPORTED:
        save(export(model, signature_of(model, name), name, 20), path)
        EXPORTED[name] = path.read_bytes()
    path.write_bytes(EXPORTED[name])
    return path


def test_a_folder_with_a_program(tmp_path, config):
    report = quantize_files(config())
    assert report.quality.metric == "accuracy"
    assert report.quality.agreement > 0.9
    assert len(report.layers) == LAYERS + 1
    assert "bert.encoder.layer.1.output.dense" in {layer.name for layer in report.layers}
    assert report.sizes.after < report.sizes.before
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.onnx", "config.json", "report.json", "report.html"} <= found
    assert kinds(tmp_path / "out" / "model.onnx").count("MatMulInteger") == LAYERS + 1
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report.to_document()
    assert {path.name for path in tmp_path.iterdir()} == {"model", "dataset", "out"}


def test_static_writes_qdq_and_file_names_say_the_format(tmp_path, config):
    report = quantize_files(config(method="static", output="m.onnx", format=None))
    assert report.quality.agreement > 0.9
    found = kinds(tmp_path / "m.onnx")
    assert found.count("QuantizeLinear") > 4
    assert "DequantizeLinear" in found
    assert (tmp_path / "m.onnx.report.json").exists()
    assert (tmp_path / "m.onnx.report.html").exists()
    assert metadata(tmp_path / "m.onnx")["deepseek.method"] == "static"


@pytest.mark.parametrize("observer", ["percentile", "entropy"])
def test_ranges_by_other_observers(config, classifier, observer):
    program = exported(classifier, config().model.with_name("given.onnx"))
    options = {"observer": observer, "samples": 40, "allow_drop": True}
    report = quantize_files(config(model=program, method="static", **options))
    assert report.quality.agreement > 0.5
    assert report.output


def test_weights_of_four_bits(tmp_path, config, classifier):
    program = exported(classifier, config().model.with_name("given.onnx"))
    options = {"bits": 4, "group_size": 32, "allow_drop": True}
    report = quantize_files(config(model=program, method="weight_only", **options))
    assert kinds(tmp_path / "out" / "model.onnx").count("MatMulNBits") == len(report.layers)


def test_a_program_becomes_a_quantized_program(tmp_path, config, classifier):
    given = config()
    program = exported(classifier, given.model.with_name("given.onnx"))
    report = quantize_files(config(model=program, format=None))
    assert report.architecture == "BertForSequenceClassification"
    assert report.quality.metric == "accuracy"
    assert kinds(tmp_path / "out" / "model.onnx").count("MatMulInteger") == len(report.layers)


def test_a_program_without_a_configuration_is_told_by_its_shapes(config, classifier):
    given = config()
    program = exported(classifier, given.model.with_name("given.onnx"))
    (given.model.parent / "config.json").unlink()
    report = quantize_files(config(model=program))
    assert report.quality.metric == "accuracy"
    assert any("no config.json" in note for note in report.notes)


def test_a_quantized_program_is_refused(tmp_path, config):
    given = config()
    quantize_files(given)
    with pytest.raises(InputError, match="quantized already"):
        quantize_files(config(model=tmp_path / "out" / "model.onnx", output="again"))
    assert not (tmp_path / "again").exists()


def test_layers_return_to_floating_point(config, classifier, spoil):
    spoil(classifier)
    report = quantize_files(config(search="auto", max_drop=0.1, time_budget=120))
    kept = {layer.name for layer in report.left_alone}
    assert kept
    assert report.search.sensitivity[0].name in kept
    assert report.quality.agreement > 0.85
    assert report.layers


def test_smoothing_comes_before_the_export(tmp_path, tiny, checkpoint, tokenizer, sentences):
    model = tiny("LlamaForSequenceClassification")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(sentences(60)))
    report = quantize_files(QuantizeFilesConfig(
        model=checkpoint(model), calib_data=texts, output=tmp_path / "out", method="smooth",
        format="onnx", smallest=True, search="never", max_drop=0.5, allow_drop=True,
    ))  # fmt: skip
    assert report.method == "smooth"
    assert report.quality.agreement > 0.8


def test_what_is_not_faster_is_refused(tmp_path, config, classifier, monkeypatch):
    program = exported(classifier, config().model.with_name("given.onnx"))
    monkeypatch.setattr(attempt, "time_calls", lambda *_: Times(1.0, 2.0))
    with pytest.raises(GateError, match=r"found 2\.00x the time"):
        quantize_files(config(model=program, smallest=False))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("changes", "message"), [
    ({"method": "static", "observer": "mse"}, "expected --observer minmax or percentile or"),
    ({"method": "weight_only", "rounding": "gptq"}, "expected --rounding nearest for ONNX"),
    ({"embeddings": True}, "expected no --embeddings for ONNX"),
])  # fmt: skip
def test_what_the_library_cannot_do(config, changes, message):
    with pytest.raises(InputError, match=message):
        quantize_files(config(**changes))


def test_a_program_is_not_written_as_a_folder(config):
    with pytest.raises(InputError, match="expected --format onnx"):
        config(output="m.onnx", format="hf")


def test_a_damaged_program(tmp_path, config):
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "model" / "bad.onnx").write_bytes(b"\x08\x07 no program")
    with pytest.raises(InputError):
        quantize_files(config(model=tmp_path / "model" / "bad.onnx"))


@pytest.fixture
def pictures(tmp_path):
    """A small convolutional network, and arrays with its own answers for labels."""
    torch.manual_seed(0)
    settings = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3, layer_type="basic",
        architectures=["ResNetForImageClassification"],
    )  # fmt: skip
    model = transformers.ResNetForImageClassification(settings).eval()
    model.save_pretrained(tmp_path / "resnet")
    values = torch.randn(160, 3, 32, 32)
    with torch.inference_mode():
        labels = model(values).logits.argmax(-1)
    np.savez(tmp_path / "data.npz", pixel_values=values.numpy(), labels=labels.numpy())
    return tmp_path / "resnet", tmp_path / "data.npz"


def test_convolutions(tmp_path, pictures):
    model, data = pictures
    options = {"model": model, "calib_data": data, "smallest": True, "search": "never",
               "max_drop": 0.3, "output": tmp_path / "out", "format": "onnx"}  # fmt: skip
    report = quantize_files(QuantizeFilesConfig(method="static", **options))
    assert report.quality.metric == "accuracy"
    assert report.quality.agreement > 0.9
    convolutions = [layer for layer in report.layers if layer.kind == "Conv"]
    assert len(convolutions) > 4
    assert "resnet.embedder.embedder.convolution" in {layer.name for layer in convolutions}
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx",
                                           providers=["CPUExecutionProvider"])  # fmt: skip
    assert (
        session.run(None, {"pixel_values": np.zeros((2, 3, 32, 32), np.float32)})[0].shape[0] == 2
    )
