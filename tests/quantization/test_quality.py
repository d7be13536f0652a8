"""The verdict: a mean, an interval, a budget, and whether these records can tell."""

import numpy as np
import pytest

from deepseek.quantization.evaluate import Comparison
from deepseek.quantization.metrics import Metric, Scores
from deepseek.quantization.quality import judge


def comparison(name, before, after, agreement):
    scores = Scores(*(np.array(values, dtype=float) for values in (before, after, agreement)))
    metric = Metric(name, predict=None, score=None)
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
    assert quality.certain


@pytest.mark.parametrize(
    ("lost", "n", "passed", "certain"),
    [
        (0, 2500, True, True),
        (0, 20, True, False),  # nothing differs, yet twenty texts show little
        (11, 2500, True, False),
        (13, 2500, False, False),
        (60, 2500, False, True),
    ],
)
def test_passed_and_certain(lost, n, passed, certain):
    quality = judge(accuracy(n, lost), max_drop=0.005)
    assert (quality.passed, quality.certain) == (passed, certain)
    if passed and not certain:
        assert quality.records_needed > n


def test_a_drop_equal_to_the_budget_passes():
    assert judge(accuracy(1000, lost=5), max_drop=0.005).passed


def test_cosine():
    cosines = [0.999, 0.998, 0.99]
    quality = judge(comparison("cosine", [1, 1, 1], cosines, cosines), max_drop=0.005)
    assert quality.after == pytest.approx(0.99566666)
    assert quality.drop == pytest.approx(0.00433333, abs=1e-7)
    assert quality.lowest == 0.99
    assert quality.agreement is None
    assert quality.agreement_interval is None
    assert quality.passed
    assert not judge(comparison("cosine", [1, 1, 1], cosines, cosines), max_drop=0.001).passed
