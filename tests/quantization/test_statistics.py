"""Confidence intervals against known values and against the normal approximation."""

import numpy as np
import pytest

from deepseek.quantization.statistics import drop_interval, records_needed, wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_against_published_values(successes, trials, low, high):
    interval = wilson_interval(successes, trials)
    assert interval.low == pytest.approx(low, abs=1e-4)
    assert interval.high == pytest.approx(high, abs=1e-4)


def right(wrong, n=2500):
    values = np.ones(n)
    values[list(wrong)] = 0
    return values


def test_bootstrap_is_near_the_normal_interval():
    before, after = right(range(290)), right(range(5, 303))
    interval = drop_interval(before, after)
    losses = before - after
    half = 1.96 * losses.std() / np.sqrt(len(losses))
    assert interval.low == pytest.approx(losses.mean() - half, abs=3e-4)
    assert interval.high == pytest.approx(losses.mean() + half, abs=3e-4)


@pytest.mark.parametrize("wrong", [10, 1000])
def test_bootstrap_is_paired(wrong):
    """However many records both have wrong, only the differences count: three each way."""
    before, after = right(range(wrong)), right(range(3, wrong + 3))
    interval = drop_interval(before, after)
    half = 1.96 * np.sqrt(6) / 2500
    assert interval.low == pytest.approx(-half, abs=2e-4)
    assert interval.high == pytest.approx(half, abs=2e-4)


def test_bootstrap_repeats_with_its_seed():
    before, after = np.ones(100), np.random.default_rng(0).random(100)
    assert drop_interval(before, after, seed=3) == drop_interval(before, after, seed=3)
    assert drop_interval(before, after, seed=3) != drop_interval(before, after, seed=4)


def test_no_difference_is_not_certainty():
    """Twenty equal decisions do not show that the next will be equal."""
    interval = drop_interval(right([0], 20), right([0], 20))
    assert interval.high == wilson_interval(0, 20).high > 0.1
    assert interval.low == -interval.high
    perfect = drop_interval(np.ones(20), np.ones(20))
    assert (perfect.low, perfect.high) == (0.0, interval.high)


def test_coverage_is_about_95_percent():
    generator = np.random.default_rng(0)
    inside = 0
    for trial in range(60):
        changed = generator.random(400)
        before = np.where(changed < 0.05, 0.0, 1.0)
        after = np.where((changed >= 0.05) & (changed < 0.13), 0.0, 1.0)
        interval = drop_interval(before, after, seed=trial)
        inside += interval.low <= 0.03 <= interval.high
    assert 53 <= inside <= 59


@pytest.mark.parametrize("n", [10, 100, 765])
def test_records_needed_without_a_difference(n):
    needed = records_needed(np.ones(n), np.ones(n), 0.005)
    assert needed == pytest.approx(765, abs=1)
    assert wilson_interval(0, needed).high <= 0.005


def test_records_needed_by_the_spread():
    """As many more of the same records bring the upper end to the budget."""
    before, after = right(range(30), 1000), right(range(3, 36), 1000)
    needed = records_needed(before, after, 0.005)
    assert needed > 1000
    times = round(needed / 1000)
    interval = drop_interval(np.tile(before, times), np.tile(after, times))
    assert interval.high == pytest.approx(0.005, abs=3e-4)


def test_no_number_of_records_mends_too_large_a_loss():
    assert records_needed(np.ones(10), np.zeros(10), 0.5) is None
