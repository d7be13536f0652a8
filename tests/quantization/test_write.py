"""The folder loads here and in transformers, and gives the same logits in both."""

import json
from functools import partial

import pytest
import torch
import transformers
from safetensors import safe_open

import deepseek
from deepseek.errors import InputError
from deepseek.nn.int8_linear import Int8Linear
from deepseek.quantization.quantize import quantize
from deepseek.quantization.write import write_folder

WRITTEN = [
    ("BertForSequenceClassification", {}),
    ("BertModel", {}),
    ("BertForMaskedLM", {"tie_word_embeddings": True}),
    ("RobertaForSequenceClassification", {}),
    ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    ("LlamaForCausalLM", {"tie_word_embeddings": False}),
    ("LlamaForSequenceClassification", {}),
    ("ViTForImageClassification", {}),
    ("T5ForConditionalGeneration", {}),
]

ONLY_HERE = [("GPT2ForSequenceClassification", {}), ("GPT2LMHeadModel", {})]  # Conv1D


def written(model, folder, given):
    quantized, report = quantize(model, [given])
    write_folder(folder, quantized, report)
    return quantized


def first(outputs):
    return outputs.logits if "logits" in outputs else outputs.last_hidden_state


@pytest.mark.parametrize(("name", "changes"), WRITTEN + ONLY_HERE)
def test_loads_here_with_the_same_outputs(tmp_path, tiny, inputs, name, changes):
    model = tiny(name, **changes)
    quantized = written(model, tmp_path / "int8", inputs(model))
    loaded = deepseek.load(tmp_path / "int8")
    kinds = [type(module) for module in quantized.modules()]
    assert [type(module) for module in loaded.modules()] == kinds
    assert Int8Linear in kinds
    with torch.inference_mode():
        given = inputs(model, seed=1)
        assert torch.equal(first(loaded(**given)), first(quantized(**given)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "changes"), WRITTEN)
def test_loads_in_transformers_with_the_same_outputs(
    tmp_path, tiny, inputs, in_floats, name, changes, dtype
):
    """Bit for bit where both add floating-point products in the same order.

    Our integers are the same numbers added without rounding. That moves the outputs of a layer in
    their last bits (see below), and now and then tips a number over the edge between two steps of
    the next layer. Logits then differ by a part of what quantization itself changes.
    """
    pytest.importorskip("compressed_tensors")
    model = tiny(name, **changes)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    quantized = written(model, tmp_path / "int8", inputs(model, dtype=dtype))
    kind = getattr(transformers, name)
    loaded, info = kind.from_pretrained(tmp_path / "int8", output_loading_info=True)
    assert not any(info.values()), info
    assert loaded.dtype == dtype
    given = inputs(model, seed=1, dtype=dtype)
    with torch.inference_mode():
        theirs, integers, float_ = (first(m(**given)).double() for m in (loaded, quantized, model))
        in_floats()
        ours = first(quantized(**given)).double()
    assert torch.equal(ours, theirs)
    if dtype == torch.float32:  # bfloat16 rounds more coarsely there than INT8 does
        assert (integers - theirs).norm() < (integers - float_).norm()


def test_symmetric_activations_load_too(tmp_path, tiny, inputs, in_floats, monkeypatch):
    """The other form that the format has; folders of other makers often are of it."""
    pytest.importorskip("compressed_tensors")
    plain = partial(Int8Linear.from_linear, symmetric=True)
    monkeypatch.setattr("deepseek.quantization.apply.Int8Linear.from_linear", plain)
    model = tiny("BertForSequenceClassification")
    quantized = written(model, tmp_path / "int8", inputs(model))
    here = deepseek.load(tmp_path / "int8")
    there = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "int8")
    given = inputs(model, seed=1)
    with torch.inference_mode():
        assert torch.equal(here(**given).logits, quantized(**given).logits)
        in_floats()
        assert torch.equal(there(**given).logits, quantized(**given).logits)
    assert all(m.symmetric for m in here.modules() if isinstance(m, Int8Linear))


def test_every_layer_gives_what_it_gives_in_transformers(tmp_path, tiny, inputs):
    pytest.importorskip("compressed_tensors")
    model = tiny("BertForSequenceClassification")
    quantized = written(model, tmp_path / "int8", inputs(model))
    loaded = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "int8")
    seen = {}
    for name, module in loaded.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(
                lambda _module, given, output, name=name: seen.update({name: (given[0], output)})
            )
    with torch.inference_mode():
        loaded(**inputs(model))
        for name, (given, theirs) in seen.items():
            ours = quantized.get_submodule(name)(given)
            # float32 keeps 24 bits; the sums are of 48 to 80 products.
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert len(seen) == 14


def test_the_classes_that_choose_a_class_load_it(tmp_path, tiny, inputs, in_floats):
    pytest.importorskip("compressed_tensors")
    model = tiny("BertForSequenceClassification")
    quantized = written(model, tmp_path / "int8", inputs(model))
    given = inputs(model, seed=1)
    auto = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "int8")
    body = transformers.AutoModel.from_pretrained(tmp_path / "int8")
    in_floats()
    with torch.inference_mode():
        assert torch.equal(auto(**given).logits, quantized(**given).logits)
        assert torch.equal(body(**given).pooler_output, quantized.bert(**given).pooler_output)


def test_what_is_in_the_folder(tmp_path, tiny, inputs, tokenizer):
    model = tiny("LlamaForCausalLM", tie_word_embeddings=True)
    quantized, report = quantize(model, [inputs(model)])
    write_folder(tmp_path / "int8", quantized, report, tokenizer)
    names = {path.name for path in (tmp_path / "int8").iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors", "report.html",
                     "report.json",
                     "tokenizer.json", "tokenizer_config.json"}  # fmt: skip
    config = json.loads((tmp_path / "int8" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "float32"
    assert config["quantization_config"]["ignore"] == [r"re:(?:model\.)?lm_head$"]
    assert json.loads((tmp_path / "int8" / "report.json").read_text()) == report.to_document()
    with safe_open(tmp_path / "int8" / "model.safetensors", framework="pt") as file:
        stored = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert "lm_head.weight" not in stored
    layer = "model.layers.0.mlp.up_proj"
    assert stored[f"{layer}.weight"] == torch.int8
    assert stored[f"{layer}.weight_scale"] == torch.float32
    assert stored["model.embed_tokens.weight"] == torch.float32


def test_the_folder_is_a_quarter_of_the_layers(tmp_path, tiny, inputs):
    model = tiny("BertModel", hidden_size=128, intermediate_size=512)
    _, report = quantize(model, [inputs(model)])
    layers = sum(4 * layer.in_features * layer.out_features for layer in report.layers)
    scales = sum(4 * layer.out_features for layer in report.layers)
    assert report.sizes.before - report.sizes.after == 3 * layers // 4 - scales


def test_a_model_without_configuration(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(4, 3))
    quantized, report = quantize(model, [{"input": torch.randn(5, 4)}])
    with pytest.raises(InputError, match="expected a model with a configuration"):
        write_folder(tmp_path / "int8", quantized, report)
    assert not (tmp_path / "int8").exists()
