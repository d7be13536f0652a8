"""The report of a quantization as a person reads it, for every metric and verdict."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from deepseek.quantization.apply import LeftAlone
from deepseek.quantization.methods.method import QuantizedLayer
from deepseek.quantization.quality import Quality
from deepseek.quantization.report import Report, Sizes, Timing
from deepseek.quantization.search.outcome import SearchReport, Tried
from deepseek.quantization.search.sensitivity import Sensitivity
from deepseek.quantization.search.state import Trial
from deepseek.quantization.statistics import Interval
from ds_cli.views.quantize import show

QUALITY = Quality(
    metric="accuracy",
    n=2500,
    before=0.8832,
    after=0.8824,
    drop=0.0008,
    drop_interval=Interval(-0.0012, 0.0028),
    agreement=0.9964,
    agreement_interval=Interval(0.9932, 0.9981),
    lowest=None,
    max_drop=0.005,
    records_needed=None,
)
COSINE = replace(
    QUALITY, metric="cosine", before=1.0, after=0.9963, drop=0.0037, agreement=None,
    drop_interval=Interval(0.0035, 0.0039), agreement_interval=None, lowest=0.9796,
)  # fmt: skip
REPORT = Report(
    method="dynamic_range",
    architecture="BertForSequenceClassification",
    layers=[QuantizedLayer(name="classifier", in_features=4, out_features=2, input_rank=2)],
    left_alone=[LeftAlone("a", "some reason"), LeftAlone("b", "some reason")],
    sizes=Sizes(before=90_900_000, after=58_700_000),
    quality=QUALITY,
    timing=Timing(total=61.0, record_before=0.004, record_after=0.005),
    notes=("3 rows without text were passed over",),
    output="int8_model",
)


def shown(report: Report, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(show(report))
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines) <= width
    return "\n".join(" ".join(line.replace("│", " ").split()) for line in lines)


def test_accuracy():
    text = shown(REPORT)
    assert "BertForSequenceClassification, 1 layer in INT8" in text
    assert "size 90.9 MB 58.7 MB 0.65x" in text
    assert "accuracy 88.32 % 88.24 % -0.08 points" in text
    assert "agreement 99.64 %" in text
    assert "time a text * 4.0 ms 5.0 ms 1.25x" in text
    assert "passed: drop 0.08 %, at most 0.50 % allowed, on 2500 held-out texts" in text
    assert "95 % interval of the drop -0.12 to 0.28, of the agreement 99.32 to 99.81" in text
    assert "left in floating point: 2 layers, some reason" in text
    assert "3 rows without text were passed over" in text
    assert "written to int8_model; 1 min 1 s" in text
    assert "too few" not in text


SEARCH = SearchReport(
    stopped="found",
    seconds=75.0,
    sensitivity=[
        Sensitivity(name=f"layer.{n}", layers=(f"layer.{n}",), distance=0.1 / (n + 1), changed=0.1,
                    bytes_saved=100, records=256)
        for n in range(5)
    ],
    times=[],
    trials=[Trial(kept=(), drop=0.1, low=0.1, high=0.1, within=False, size=1, seconds=1.0)] * 7,
    methods=[Tried(method="dynamic_range", within=True, drop=0.001, size=58_700_000, seconds=1.0)],
)  # fmt: skip


def test_a_search_says_what_it_found():
    text = shown(replace(REPORT, search=SEARCH), 120)
    assert "search: 7 models tried in 1 min 15 s; as few layers as suffice returned to" in text
    assert "most sensitive: layer.0 (1.0e-01), layer.1 (5.0e-02), layer.2 (3.3e-02)" in text
    assert "methods tried" not in text


def test_methods_that_were_tried():
    other = replace(SEARCH.methods[0], method="other", drop=0.02, size=30_000_000)
    search = replace(SEARCH, stopped="whole", methods=[*SEARCH.methods, other], sensitivity=[])
    text = shown(replace(REPORT, search=search), 120)
    assert "methods tried: dynamic_range (0.10 %, 58.7 MB), other (2.00 %, 30.0 MB)" in text
    assert "search:" not in text


def test_no_vnni_is_told():
    assert "no VNNI" in shown(replace(REPORT, vnni=False))
    assert "no VNNI" not in shown(REPORT)


def test_cosine():
    text = shown(replace(REPORT, quality=COSINE))
    assert "cosine, mean 0.99630 -0.00370" in text
    assert "cosine, lowest 0.97960" in text
    assert "95 % interval of the drop 0.35 to 0.39" in text
    assert "agreement" not in text


@pytest.mark.parametrize(("metric", "label"), [("next_token_accuracy", "next-token accuracy")])
def test_other_accuracies(metric, label):
    text = shown(replace(REPORT, quality=replace(QUALITY, metric=metric)))
    assert f"{label} 88.32 % 88.24 % -0.08 points" in text


def test_agreement_alone_is_told_once():
    text = shown(replace(REPORT, quality=replace(QUALITY, metric="agreement", before=1.0)))
    assert "accuracy" not in text
    assert text.count("99.64 %") == 1


def test_no_loss_has_no_minus():
    assert "+0.00 points" in shown(replace(REPORT, quality=replace(QUALITY, drop=0.0)))


def test_missed():
    missed = replace(QUALITY, drop=0.01, drop_interval=Interval(0.007, 0.013))
    text = shown(replace(REPORT, quality=missed, output=None))
    assert "missed: drop 1.00 %, at most 0.50 % allowed, on 2500 held-out texts" in text
    assert "nothing written (--allow_drop keeps the output)" in text
    assert "too few" not in text


@pytest.mark.parametrize(("needed", "ending"), [(9000, "; about 9000 would tell"), (None, "")])
def test_undecided_says_how_many_would_tell(needed, ending):
    unsure = replace(QUALITY, drop_interval=Interval(-0.01, 0.011), records_needed=needed)
    text = shown(replace(REPORT, quality=unsure))
    assert "undecided: drop 0.08 %, at most 0.50 % allowed" in text
    assert f"too few texts to be sure: the interval holds the budget{ending}" in text


@pytest.mark.parametrize(
    ("metric", "levels", "row"),
    [
        ("f1", (0.9, 0.89, 0.01), "F1, mean of classes 90.00 % 89.00 % -1.00 points"),
        ("spearman", (0.9, 0.89, 0.01), "rank correlation 0.9000 0.8900 -0.0100"),
        ("kl", (0.0, 0.002, 0.002), "divergence 0.00200 nats"),
        ("perplexity", (20.0, 20.5, 0.025), "perplexity 20.000 20.500 +2.50 %"),
    ],
)
def test_metrics_have_rows_of_their_own(metric, levels, row):
    before, after, drop = levels
    quality = replace(QUALITY, metric=metric, before=before, after=after, drop=drop)
    assert row in shown(replace(REPORT, quality=quality))


@pytest.mark.parametrize("width", [80, 120, 200])
def test_widths(width):
    assert "size" in shown(REPORT, width)
