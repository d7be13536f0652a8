"""Two models on the same batches: scores, time, and what stops the comparison."""

import pytest
import torch

from deepseek.errors import InputError
from deepseek.quantization.apply import plan_layers, quantized_copy
from deepseek.quantization.batches import Batch
from deepseek.quantization.evaluate import compare


@pytest.fixture
def pair(tiny):
    model = tiny("BertForSequenceClassification")
    return model, quantized_copy(model, plan_layers(model).quantized)


def batches(model, inputs, count=3, **more):
    return [Batch(inputs(model, seed=seed), **more) for seed in range(count)]


def test_scores_are_those_of_the_outputs(pair, inputs):
    model, quantized = pair
    given = batches(model, inputs, labels=torch.tensor([0, 1, 2, 0, 1, 2]))
    comparison = compare(model, quantized, given)
    assert comparison.metric.name == "accuracy"
    with torch.inference_mode():
        for number, batch in enumerate(given):
            rows = slice(6 * number, 6 * number + 6)
            before = model(**batch.inputs).logits.argmax(1)
            after = quantized(**batch.inputs).logits.argmax(1)
            scores = comparison.scores
            assert scores.before[rows].tolist() == (before == batch.labels).tolist()
            assert scores.after[rows].tolist() == (after == batch.labels).tolist()
            assert scores.agreement[rows].tolist() == (before == after).tolist()
    assert comparison.seconds_before > 0
    assert comparison.seconds_after > 0


def test_a_model_agrees_with_itself(pair, inputs):
    model, _ = pair
    assert compare(model, model, batches(model, inputs)).scores.agreement.all()


@pytest.mark.parametrize("which", ["original", "quantized"])
def test_nan_names_the_model_and_the_layer(pair, inputs, which):
    model, quantized = pair
    spoilt = dict(zip(("original", "quantized"), pair, strict=True))[which]
    layer = spoilt.bert.encoder.layer[0].output.dense
    layer.bias = torch.nn.Parameter(torch.full_like(layer.bias, torch.nan)) if (
        which == "original"
    ) else torch.full_like(layer.bias, torch.nan)  # fmt: skip
    with pytest.raises(InputError) as caught:
        compare(model, quantized, batches(model, inputs))
    assert caught.value.message == (
        f"expected finite outputs of the {which} model, found NaN or infinity, "
        "first out of layer bert.encoder.layer.0.output.dense"
    )


def test_a_model_that_takes_other_inputs(pair):
    model, quantized = pair
    with pytest.raises(
        InputError, match="expected a model that runs on pixels; BertForS"
    ) as caught:
        compare(model, quantized, [Batch({"pixels": torch.zeros(2, 3)})])
    assert "\n" not in caught.value.message


def test_texts_that_decide_nothing(tiny, inputs):
    model = tiny("LlamaForCausalLM", tie_word_embeddings=False)
    quantized = quantized_copy(model, plan_layers(model).quantized)
    with pytest.raises(InputError, match="expected held-out texts of two tokens or more"):
        compare(model, quantized, [Batch(inputs(model, tokens=1))])


def test_progress_counts_batches(pair, inputs):
    model, quantized = pair
    heard = []
    compare(model, quantized, batches(model, inputs), lambda *event: heard.append(event))
    assert heard == [("measuring", n, 3) for n in range(4)]
