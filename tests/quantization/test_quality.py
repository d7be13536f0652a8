"""The verdict: a mean, an interval, a budget, and whether these records can tell."""

import numpy as np
import pytest

from deepseek.quantization.evaluate import Comparison
from deepseek.quantization.metrics import Metric, Scores
from deepseek.quantization.metrics.decisions import F1
from deepseek.quantization.metrics.metric import gained, lost
from deepseek.quantization.metrics.numbers import PERPLEXITY, SPEARMAN
from deepseek.quantization.quality import judge


def comparison(name, before, after, agreement, drop=lost):
    scores = Scores(*(np.array(values, dtype=float) for values in (before, after, agreement)))
    metric = Metric(name, predict=None, score=None, drop=drop, decides=name != "cosine")
    return Comparison(metric=metric, scores=scores, seconds_before=1.0, seconds_after=1.0)


def accuracy(n, lost, won=0):
    """``lost`` records only the original has right, ``won`` only the quantized model."""
    before = [1] * (n - won) + [0] * won
    after = [0] * lost + [1] * (n - lost)
    agreement = [float(a == b) for a, b in zip(before, after, strict=True)]
    return comparison("accuracy", before, after, agreement)


def test_accuracy():
    quality = judge(accuracy(2500, lost=8, won=5), max_drop=0.005)
    assert quality.metric == "accuracy"
    assert quality.n == 2500
    assert quality.before == pytest.approx(2495 / 2500)
    assert quality.after == pytest.approx(2492 / 2500)
    assert quality.drop == pytest.approx(3 / 2500)
    assert quality.drop_interval.low < quality.drop < quality.drop_interval.high
    assert quality.agreement == pytest.approx(2487 / 2500)
    assert quality.agreement_interval.low < quality.agreement < quality.agreement_interval.high
    assert quality.lowest is None
    assert quality.passed
    assert quality.records_needed is None


@pytest.mark.parametrize(
    ("lost", "n", "verdict"),
    [
        (0, 2500, "passed"),
        (0, 764, "undecided"),  # nothing differs, yet so few texts show little
        (0, 765, "passed"),
        (0, 20, "undecided"),
        (11, 2500, "undecided"),  # 0.44 %, but perhaps 0.7 %
        (13, 2500, "undecided"),
        (60, 2500, "missed"),
    ],
)
def test_the_interval_decides(lost, n, verdict):
    quality = judge(accuracy(n, lost), max_drop=0.005)
    assert quality.verdict == verdict
    assert quality.passed == (verdict == "passed")
    assert (quality.records_needed or 0) > (n if verdict == "undecided" else -1)


def test_the_number_that_is_asked_for_is_enough():
    """As many more of the same records settle it."""
    few = judge(accuracy(1000, lost=3), max_drop=0.005)
    assert few.verdict == "undecided"
    times = -(-few.records_needed // 1000)
    assert judge(accuracy(1000 * times, lost=3 * times), max_drop=0.005).passed


def test_cosine():
    cosines = [0.999, 0.998, 0.99]
    quality = judge(comparison("cosine", [1, 1, 1], cosines, cosines), max_drop=0.02)
    assert quality.after == pytest.approx(0.99566666)
    assert quality.drop == pytest.approx(0.00433333, abs=1e-7)
    assert quality.lowest == 0.99
    assert quality.agreement is None
    assert quality.agreement_interval is None
    assert quality.passed
    assert not judge(comparison("cosine", [1, 1, 1], cosines, cosines), max_drop=0.001).passed


def test_kl_is_lost_when_it_rises():
    quality = judge(comparison("kl", [0] * 4, [0.1, 0.2, 0.1, 0.2], [1] * 4, drop=gained),
                    max_drop=0.1)  # fmt: skip
    assert quality.drop == quality.after == pytest.approx(0.15)
    assert quality.before == 0
    assert quality.drop_interval.low >= 0.1
    assert quality.agreement == 1


def test_f1_and_perplexity_are_resampled_as_a_whole():
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=900).astype(float)
    before = np.where(rng.random(900) < 0.9, truth, 0)
    after = np.where(rng.random(900) < 0.05, 1, before)
    scores = Scores(before, after, before == after, truth)
    found = judge(Comparison(metric=F1, scores=scores, seconds_before=1, seconds_after=1),
                  max_drop=0.005)  # fmt: skip
    assert found.before == pytest.approx(F1.level(before, truth))
    assert found.drop_interval.low < found.drop < found.drop_interval.high
    assert found.verdict == "missed"

    tokens = rng.integers(5, 20, size=900).astype(float)
    nats = tokens * rng.uniform(2, 4, size=900)
    scores = Scores(nats, nats * 1.001, np.full(900, np.nan), tokens)
    found = judge(Comparison(metric=PERPLEXITY, scores=scores, seconds_before=1, seconds_after=1),
                  max_drop=0.005)  # fmt: skip
    mean = nats.sum() / tokens.sum()
    assert found.before == pytest.approx(np.exp(mean))
    assert found.drop == pytest.approx(np.exp(0.001 * mean) - 1)
    assert found.passed
    assert found.agreement is None


def test_nothing_differs_in_any_metric():
    truth = np.arange(100.0)
    scores = Scores(truth, truth, np.full(100, np.nan), truth)
    found = judge(Comparison(metric=SPEARMAN, scores=scores, seconds_before=1, seconds_after=1),
                  max_drop=0.005)  # fmt: skip
    assert found.verdict == "undecided"
    assert found.records_needed == 765
