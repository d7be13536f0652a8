"""The verb in Python: a model and batches in, a quantized copy and a report out."""

import pytest
import torch
from torch import nn

import deepseek
from deepseek.errors import InputError
from deepseek.nn.int8_linear import Int8Linear
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.quantize import quantize


def batches(model, inputs, count=4, *, labelled=False):
    given = [inputs(model, seed=seed) for seed in range(count)]
    if labelled:
        with torch.inference_mode():
            given = [{**batch, "labels": model(**batch).logits.argmax(1)} for batch in given]
    return given


def test_it_is_a_public_name():
    assert deepseek.quantize is quantize


@pytest.mark.parametrize(
    ("name", "labelled", "metric"),
    [
        ("BertForSequenceClassification", True, "accuracy"),
        ("BertForSequenceClassification", False, "agreement"),
        ("BertModel", False, "cosine"),
        ("BertForMaskedLM", False, "agreement"),
        ("LlamaForCausalLM", False, "next_token_accuracy"),
        ("GPT2ForSequenceClassification", True, "accuracy"),
        ("ViTForImageClassification", True, "accuracy"),
        ("T5ForConditionalGeneration", False, "agreement"),
    ],
)
def test_models_of_every_kind(tiny, inputs, name, labelled, metric):
    model = tiny(name)
    given = batches(model, inputs, labelled=labelled)
    quantized, report = quantize(model, given, QuantizeConfig(max_drop=0.5))
    quality = report.quality
    assert quality.metric == metric
    assert quality.n == 12  # every other batch is held out
    if labelled:
        assert quality.before == 1.0  # the labels are the model's own answers
        assert quality.after == quality.agreement
    assert quality.passed
    assert any(isinstance(module, Int8Linear) for module in quantized.modules())
    assert report.sizes.after < report.sizes.before
    assert report.architecture == name


def test_cosine_of_an_encoder_is_high(tiny, inputs):
    model = tiny("BertModel")
    _, report = quantize(model, batches(model, inputs))
    assert 0.99 < report.quality.lowest <= report.quality.after < 1


def test_a_loss_over_the_budget_is_reported_not_raised(tiny, inputs, spoil):
    model = spoil(tiny("BertForSequenceClassification"))
    _, report = quantize(model, batches(model, inputs, 20, labelled=True))
    assert not report.quality.passed
    assert report.quality.drop > 0.005


def test_a_head_with_one_output_is_held_against_numbers(tiny, inputs):
    model = tiny("BertForSequenceClassification", num_labels=1)
    given = batches(model, inputs)
    with torch.inference_mode():
        given = [{**batch, "labels": model(**batch).logits[:, 0]} for batch in given]
    _, report = quantize(model, given, QuantizeConfig(max_drop=0.5))
    assert report.quality.metric == "spearman"
    assert report.quality.before == pytest.approx(1)
    assert 0.9 < report.quality.after < 1


@pytest.mark.parametrize(
    ("name", "labelled", "metric"),
    [
        ("BertForSequenceClassification", True, "f1"),
        ("BertForSequenceClassification", False, "kl"),
        ("LlamaForCausalLM", False, "perplexity"),
    ],
)
def test_the_metric_can_be_named(tiny, inputs, name, labelled, metric):
    model = tiny(name)
    given = batches(model, inputs, labelled=labelled)
    _, report = quantize(model, given, QuantizeConfig(max_drop=0.5, metric=metric))
    assert report.quality.metric == metric
    assert report.quality.passed


def test_measured_on_what_is_held_out(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    held_out = batches(model, inputs, count=2)
    _, report = quantize(model, batches(model, inputs), held_out=held_out)
    assert report.quality.n == 12


def test_the_model_and_its_mode_are_left_alone(tiny, inputs):
    model = tiny("BertForSequenceClassification").train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quantized, _ = quantize(model, batches(model, inputs))
    assert model.training
    assert not quantized.training
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_any_module_will_do():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    given = [{"input": torch.randn(32, 8)}]
    quantized, report = quantize(model, given)
    assert report.quality.metric == "agreement"
    assert isinstance(quantized[0], Int8Linear)
    assert [layer.input_rank for layer in report.layers] == [2, 2]


def test_the_result_repeats(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    first, second = (quantize(model, batches(model, inputs))[1].quality for _ in range(2))
    assert first == second


def test_the_document_is_plain(tiny, inputs):
    import json

    model = tiny("GPT2LMHeadModel", n_layer=1)
    _, report = quantize(model, batches(model, inputs))
    document = report.to_document()
    assert json.loads(json.dumps(document)) == document
    assert document["schema"] == "deepseek.quantize/1"
    assert document["quality"]["drop_interval"].keys() == {"low", "high"}
    assert document["layers"][0] == {
        "name": "transformer.h.0.attn.c_attn",
        "in_features": 48,
        "out_features": 144,
        "input_rank": 3,
        "kind": "Conv1D",
    }
    assert document["left_alone"][0]["name"] == "lm_head"
    assert document["source"] is None
    assert document["output"] is None


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("BertForSequenceClassification", {"num_labels": 1}, "head with one output, found none"),
    ],
)  # fmt: skip
def test_models_that_cannot_be(tiny, inputs, name, changes, message):
    model = tiny(name, **changes)
    with pytest.raises(InputError, match=message):
        quantize(model, batches(model, inputs))


def test_a_quantized_model_is_not_quantized_again(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    quantized, _ = quantize(model, batches(model, inputs))
    with pytest.raises(InputError, match="quantized already"):
        quantize(quantized, batches(model, inputs))
