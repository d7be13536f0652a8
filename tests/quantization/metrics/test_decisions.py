"""F1 of classes against the formula, class by class."""

import numpy as np
import pytest

from deepseek.quantization.metrics.decisions import macro_f1


def test_macro_f1_class_by_class():
    rng = np.random.default_rng(0)
    truth, predicted = (rng.integers(4, size=300).astype(float) for _ in range(2))
    expected = []
    for one in range(4):
        right = ((predicted == one) & (truth == one)).sum()
        precision, recall = right / (predicted == one).sum(), right / (truth == one).sum()
        expected.append(2 * precision * recall / (precision + recall))
    assert macro_f1(predicted, truth) == pytest.approx(np.mean(expected))


def test_a_class_that_does_not_occur_does_not_count():
    assert macro_f1(np.array([0.0, 2, 2]), np.array([0.0, 2, 2])) == 1.0
    assert macro_f1(np.array([0.0, 1]), np.array([0.0, 2])) == pytest.approx(1 / 3)
