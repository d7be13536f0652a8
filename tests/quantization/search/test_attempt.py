"""The whole way: a planted bad layer is found, returned, and the rest keeps within the budget."""

import pytest
import torch

from deepseek.errors import GateError, InputError
from deepseek.nn.int8_linear import Int8Linear
from deepseek.quantization.batches import given_batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.quantize import quantize, quantize_on
from deepseek.quantization.search.speed import Times

BAD = "bert.encoder.layer.0.attention.self.value"


@pytest.fixture
def planted(tiny):
    """Huge weights for a feature that is always zero spoil all steps of one layer."""
    model = tiny("BertForSequenceClassification")
    with torch.no_grad():
        norm = model.bert.embeddings.LayerNorm
        norm.weight[0] = norm.bias[0] = 0
        model.get_submodule(BAD).weight[:, 0] = 1000
    return model


def batches(model, inputs, count, start=0):
    """With the model's own answers for labels."""
    given = [inputs(model, records=12, seed=seed) for seed in range(start, start + count)]
    with torch.inference_mode():
        return [{**batch, "labels": model(**batch).logits.argmax(1)} for batch in given]


CONFIG = QuantizeConfig(max_drop=0.12)


def test_a_planted_bad_layer_is_named_first_and_returns(planted, inputs):
    data = batches(planted, inputs, 40)
    quantized, report = quantize(planted, data, CONFIG)
    first, second, *_ = report.search.sensitivity
    assert first.name == BAD
    assert first.distance > 5 * second.distance
    assert first.changed > second.changed
    assert len(report.search.sensitivity) == 14
    assert report.search.stopped == "found"
    assert report.quality.passed
    kept = {layer.name: layer.reason for layer in report.left_alone}
    assert kept == {BAD: "in INT8 it costs too much"}
    assert type(quantized.get_submodule(BAD)) is torch.nn.Linear
    assert sum(isinstance(m, Int8Linear) for m in quantized.modules()) == 13
    whole, *others = report.search.trials
    assert not whole.within
    assert whole.drop > 0.12
    assert any(trial.kept == (BAD,) and trial.within for trial in others)


def test_without_search_the_budget_is_missed(planted, inputs):
    data = batches(planted, inputs, 40)
    config = QuantizeConfig(max_drop=0.12, search="never")
    _, report = quantize(planted, data, config)
    assert report.quality.verdict == "missed"
    assert report.search.stopped is None
    assert report.search.trials == ()


def test_the_search_sees_nothing_of_what_the_verdict_is_made_on(planted, inputs):
    class Watched(list):
        seen = 0

        def __iter__(self):
            self.seen += 1
            return super().__iter__()

    calibration = Watched(given_batches(batches(planted, inputs, 20)))
    held_out = Watched(given_batches(batches(planted, inputs, 20, start=20)))
    during = []
    quantize_on(planted, calibration, held_out, CONFIG, lambda *_: during.append(held_out.seen))
    searching = [seen for seen in during if seen == 0]
    assert len(searching) > 40
    assert held_out.seen == 2  # once for the metric, once to measure


def test_a_model_within_the_budget_is_not_searched(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    _, report = quantize(model, batches(model, inputs, 40), CONFIG)
    assert report.search.stopped == "whole"
    assert report.search.sensitivity == ()
    assert len(report.search.trials) == 1


def test_always_measures_the_layers_all_the_same(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    config = QuantizeConfig(max_drop=0.12, search="always")
    _, report = quantize(model, batches(model, inputs, 8), config)
    distances = [unit.distance for unit in report.search.sensitivity]
    assert len(distances) == 14
    assert distances == sorted(distances, reverse=True)
    assert min(distances) > 0


def test_layers_that_are_not_faster_stay_as_they_are(tiny, inputs, monkeypatch):
    slow = "bert.pooler.dense"

    def times(before, after, x):
        return Times(1.0, 1.5) if x.ndim == 2 else Times(2.0, 1.0)  # the pooler and the classifier

    monkeypatch.setattr("deepseek.quantization.search.speed.time_pair", times)
    model = tiny("BertForSequenceClassification")
    data = batches(model, inputs, 8)
    quantized, report = quantize(model, data, QuantizeConfig(max_drop=0.5))
    assert {layer.name: layer.reason for layer in report.left_alone} == {
        slow: "it is not faster in INT8 here",
        "classifier": "it is not faster in INT8 here",
    }
    assert type(quantized.get_submodule(slow)) is torch.nn.Linear
    found = {time.name: (time.before, time.after) for time in report.search.times}
    assert found[slow] == (1.0, 1.5)
    assert len(found) == 14
    _, report = quantize(model, data, QuantizeConfig(max_drop=0.5, smallest=True))
    assert report.left_alone == []


def test_no_layer_is_faster(tiny, inputs, monkeypatch):
    monkeypatch.setattr("deepseek.quantization.search.speed.time_pair", lambda *_: Times(1.0, 1.0))
    model = tiny("BertForSequenceClassification")
    with pytest.raises(GateError, match="found none of 14") as caught:
        quantize(model, batches(model, inputs, 2))
    assert "--smallest" in caught.value.hint


def run(model, data, state_file, progress=lambda *_: None, *, resume=False, config=CONFIG):
    calibration, held_out = (given_batches(part) for part in data)
    return quantize_on(model, calibration, held_out, config, progress,
                       state_file=state_file, resume=resume)  # fmt: skip


@pytest.fixture
def data(planted, inputs):
    return batches(planted, inputs, 20), batches(planted, inputs, 20, start=20)


@pytest.mark.parametrize("moment", ["measuring layers one by one", "trying 7 of 14 in INT8"])
def test_an_interrupted_search_goes_on(planted, data, tmp_path, moment):
    path = tmp_path / "int8.search.json"
    _, expected = run(planted, data, path)
    assert list(tmp_path.iterdir()) == []

    heard = []

    def interrupt(stage, done, total):
        heard.append(stage)
        if stage == moment and done > 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(planted, data, path, interrupt)
    assert list(tmp_path.iterdir()) == [path]
    before = heard.count("measuring layers one by one")
    heard.clear()
    _, report = run(planted, data, path, lambda stage, *_: heard.append(stage), resume=True)
    assert "timing layers" not in heard
    assert "trying 14 of 14 in INT8" not in heard
    assert before + heard.count("measuring layers one by one") < 1.6 * 14 * 20
    assert report.quality == expected.quality
    assert report.left_alone == expected.left_alone
    assert [s.name for s in report.search.sensitivity] == [
        s.name for s in expected.search.sensitivity
    ]
    assert list(tmp_path.iterdir()) == []


def interrupted(model, data, path):
    def interrupt(stage, done, total):
        if stage.startswith("trying 7"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, data, path, interrupt)


def test_a_search_is_not_resumed_with_other_things(planted, data, tmp_path):
    path = tmp_path / "int8.search.json"
    with pytest.raises(InputError, match=r"expected an interrupted search to resume at .* none"):
        run(planted, data, path, resume=True)
    interrupted(planted, data, path)
    with pytest.raises(InputError, match="found that of another model, data or setting"):
        run(planted, (data[1], data[0]), path, resume=True)
    with pytest.raises(InputError, match="found that of another"):
        run(planted, data, path, resume=True, config=QuantizeConfig(max_drop=0.11))
    planted.classifier.weight.data[0, 0] += 1
    with pytest.raises(InputError, match="found that of another"):
        run(planted, data, path, resume=True)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "other"}', '{"schema": '])
def test_a_damaged_state(planted, data, tmp_path, text):
    path = tmp_path / "int8.search.json"
    path.write_text(text)
    with pytest.raises(InputError, match="expected the state of a search"):
        run(planted, data, path, resume=True)


def test_the_time_budget_ends_the_search_with_a_verdict(planted, data, tmp_path):
    config = QuantizeConfig(max_drop=0.12, time_budget=1e-6)
    _, report = run(planted, data, tmp_path / "state", config=config)
    assert report.search.stopped == "time"
    assert report.search.sensitivity[0].records == 12  # one batch at least
    assert report.search.sensitivity[0].name == BAD
    assert report.quality.n == 240
