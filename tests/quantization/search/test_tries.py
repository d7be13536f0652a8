"""``auto``: every method that takes the model is tried, and the best that fits is kept."""

import torch

import deepseek
from deepseek.quantization.search.speed import Times


def batches(model, inputs):
    """Batches whose labels are what the model says."""
    found = []
    for seed in range(40):
        given = inputs(model, records=8, seed=seed)
        with torch.inference_mode():
            labels = model(**given).logits.argmax(-1)
        found.append({**given, "labels": labels})
    return found


def tried(model, given, **options):
    config = deepseek.QuantizeConfig(method="auto", max_drop=0.2, bits=4, group_size=32, **options)
    return deepseek.quantize(model, given, config)[1]


def test_methods_that_do_not_take_the_model_are_passed_over(tiny, inputs):
    model = tiny("BertForSequenceClassification")  # its norms feed sums: nothing to smooth
    report = tried(model, batches(model, inputs))
    names = [one.method for one in report.search.methods]
    assert names == ["dynamic_range", "static", "weight_only"]
    assert report.method in names
    assert report.quality.passed


def test_the_smallest_is_kept_where_size_is_asked_for(tiny, inputs):
    model = tiny("LlamaForSequenceClassification")
    report = tried(model, batches(model, inputs), smallest=True)
    fitting = {one.method: one.size for one in report.search.methods if one.within}
    assert {"dynamic_range", "static", "smooth"} <= {one.method for one in report.search.methods}
    assert report.method == min(fitting, key=fitting.get)


def test_a_method_without_a_faster_layer_is_passed_over(tiny, inputs, monkeypatch):
    def timed(_before, after, _x):
        slow = "Grouped" in type(after).__name__
        return Times(before=1.0, after=2.0 if slow else 0.5)

    monkeypatch.setattr("deepseek.quantization.search.speed.time_pair", timed)
    model = tiny("BertForSequenceClassification")
    report = tried(model, batches(model, inputs))
    assert [one.method for one in report.search.methods] == ["dynamic_range", "static"]


def test_no_further_method_is_begun_when_time_is_over(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    report = tried(model, batches(model, inputs), time_budget=1e-6)
    assert [one.method for one in report.search.methods] == ["dynamic_range"]
