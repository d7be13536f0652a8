"""What every method writes is loaded again with the same outputs, by each who can."""

import json

import pytest
import torch
import transformers

import deepseek
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.quantize import quantize
from deepseek.quantization.write import write_folder

METHODS = [
    {"method": "dynamic_range", "embeddings": True},
    {"method": "weight_only", "bits": 8, "group_size": 32},
    {"method": "weight_only", "bits": 4, "group_size": 32, "rounding": "gptq"},
    {"method": "weight_only", "bits": 4, "embeddings": True},
    {"method": "weight_only", "bits": 4, "group_size": 32, "rounding": "awq"},
    {"method": "static", "observer": "mse"},
]
MODELS = [
    ("BertForSequenceClassification", {}),
    ("BertForMaskedLM", {"tie_word_embeddings": True}),
    ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    ("GPT2LMHeadModel", {}),
    ("T5ForConditionalGeneration", {}),
    ("ViTForImageClassification", {}),
]


def written(model, folder, given, options):
    quantized, report = quantize(model, [given], QuantizeConfig(**options))
    write_folder(folder, quantized, report)
    return quantized


@pytest.mark.parametrize("options", METHODS, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize(("name", "changes"), MODELS)
def test_loads_here_with_the_same_outputs(tmp_path, tiny, inputs, name, changes, options):
    model = tiny(name, **changes)
    quantized = written(model, tmp_path / "made", inputs(model), options)
    loaded = deepseek.load(tmp_path / "made")
    kinds = [type(module) for module in quantized.modules()]
    assert [type(module) for module in loaded.modules()] == kinds
    given = inputs(model, seed=1)
    with torch.inference_mode():
        found, expected = loaded(**given).logits, quantized(**given).logits
        exact = model(**given).logits
    assert torch.equal(found, expected)
    # Random weights are the worst there are for 4 bits.
    assert (found - exact).norm() < (0.8 if options.get("bits") == 4 else 0.3) * exact.norm()


@pytest.mark.parametrize("options", METHODS[1:3], ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "name", ["BertForSequenceClassification", "LlamaForSequenceClassification"]
)
def test_loads_in_transformers(tmp_path, tiny, inputs, name, dtype, options):
    pytest.importorskip("compressed_tensors")
    model = tiny(name, hidden_size=64, intermediate_size=96).to(dtype)
    quantized = written(model, tmp_path / "made", inputs(model), options)
    kind = getattr(transformers, name)
    loaded, info = kind.from_pretrained(tmp_path / "made", output_loading_info=True)
    assert not any(info.values()), info
    given = inputs(model, seed=1)
    with torch.inference_mode():
        found, expected = loaded(**given).logits, quantized(**given).logits
    # There activations are bf16 throughout, here they have 16 bits of their own in each product.
    tolerance = 1e-3 if dtype == torch.float32 else 0.1
    assert (found - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("BertForSequenceClassification", {}),
        ("LlamaForCausalLM", {"tie_word_embeddings": True}),
        ("LlamaForCausalLM", {"tie_word_embeddings": False}),
    ],
)
def test_embeddings_in_transformers(tmp_path, tiny, inputs, in_floats, name, changes):
    pytest.importorskip("compressed_tensors")
    model = tiny(name, **changes)
    options = {"method": "dynamic_range", "embeddings": True}
    quantized = written(model, tmp_path / "made", inputs(model), options)
    loaded = getattr(transformers, name).from_pretrained(tmp_path / "made")
    given = inputs(model, seed=1)
    in_floats()
    with torch.inference_mode():
        assert torch.equal(loaded(**given).logits, quantized(**given).logits)


def test_tied_tensors_are_written_once(tmp_path, tiny, inputs):
    model = tiny("GPT2LMHeadModel")
    options = {"method": "weight_only", "embeddings": True}
    quantized = written(model, tmp_path / "made", inputs(model), options)
    assert quantized.lm_head.weight is quantized.transformer.wte.weight
    loaded = deepseek.load(tmp_path / "made")
    assert loaded.lm_head.weight is loaded.transformer.wte.weight
    assert loaded.lm_head.weight_scale is loaded.transformer.wte.weight_scale
    from safetensors import safe_open

    with safe_open(tmp_path / "made" / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert "lm_head.weight" not in names
    document = json.loads((tmp_path / "made" / "config.json").read_text())
    assert document["quantization_config"]["format"] == "mixed-precision"
