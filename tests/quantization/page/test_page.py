"""The page is whole, needs nothing from elsewhere, and shows what the report holds."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from deepseek.quantization.batches import Batch
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.page.charts import Bar, bars
from deepseek.quantization.page.page import render_page
from deepseek.quantization.quantize import quantize_on

BAD = "bert.encoder.layer.0.attention.self.value"
DEEP = "encoder.layer.11.attention.output.dense"
VOID = {"meta", "br", "line", "rect", "circle"}


class Checker(HTMLParser):
    """Every element is closed in its order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag


@pytest.fixture
def made(tiny, inputs):
    """A report on a model with a planted bad layer."""
    model = tiny("BertForSequenceClassification")
    with torch.no_grad():
        norm = model.bert.embeddings.LayerNorm
        norm.weight[0] = norm.bias[0] = 0
        model.get_submodule(BAD).weight[:, 0] = 1000

    def batch(seed):
        given = inputs(model, records=12, seed=seed)
        with torch.inference_mode():
            labels = model(**given).logits.argmax(1)
        return Batch(given, labels, [f"<b>record</b> {seed}.{n}" for n in range(12)])

    def make(**settings):
        calibration, held_out = ([batch(n + 20 * part) for n in range(20)] for part in (0, 1))
        config = QuantizeConfig(max_drop=0.12, **settings)
        return quantize_on(model, calibration, held_out, config)[1]

    return make


@pytest.fixture
def document(made):
    return made()


def checked(document):
    page = render_page(document)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return page, checker.seen


def test_it_needs_nothing_from_elsewhere(document):
    page, seen = checked(document.to_document())
    assert not seen & {"script", "link", "img", "iframe", "object"}
    assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in page
    assert "prefers-color-scheme:dark" in page


def test_it_shows_layers_trials_and_the_worst(document):
    plain = document.to_document()
    page, _ = checked(plain)
    bars = re.findall(r"<g><title>([^:]+): [^<]+</title><text[^>]*>[^<]*</text><rect[^>]*"
                      r'class="(\w+)"', page)  # fmt: skip
    assert bars[0] == (BAD, "marked")
    assert [kind for _, kind in bars[1:]] == ["plain"] * 13
    assert page.count("<circle") == len(plain["search"]["trials"])
    assert len(re.findall(r'<circle[^>]*class="marked"', page)) == 1


def test_worst_records_lost_most(made):
    report = made(search="never")
    assert len(report.worst) == 10
    assert all(record.loss == 1 for record in report.worst)  # right before, wrong after
    page, _ = checked(report.to_document())
    record = report.worst[0].record
    assert record.startswith("<b>record</b>")
    assert record not in page  # it is escaped
    assert record.replace("<", "&lt;").replace(">", "&gt;") in page


@pytest.mark.parametrize("verdict", ["passed", "undecided", "missed"])
def test_every_verdict_reads_as_one(document, verdict):
    interval = {"passed": (-0.1, 0.1), "undecided": (0.1, 0.2), "missed": (0.2, 0.3)}[verdict]
    from deepseek.quantization.statistics import Interval

    quality = replace(document.quality, drop_interval=Interval(*interval), records_needed=4321)
    page, _ = checked(replace(document, quality=quality).to_document())
    assert f'class="verdict {verdict}"' in page
    assert "4,321" in page


def test_without_a_search_there_are_no_charts(document):
    page, seen = checked(replace(document, search=None, worst=()).to_document())
    assert "svg" not in seen
    assert "Before and after" in page


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("classifier", "classifier"),
        (
            "a_model.encoder.layer.11.attention.output.dense",
            "….encoder.layer.11.attention.output.dense",
        ),
        ("x" * 60, "…" + "x" * 43),
    ],
)
def test_of_long_names_the_last_parts_are_shown(name, shown):
    assert f">{shown}<" in bars([Bar(name=name, value=1.0, text="1")], "layers")
