"""Confidence intervals against known values and against the normal approximation."""

import numpy as np
import pytest

from deepseek.quantization.statistics import (
    drop_interval,
    needed_by_width,
    records_needed,
    resampled_interval,
    wilson_interval,
)


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


def test_records_needed_to_show_that_too_much_was_lost():
    before, after = right(range(30), 1000), right(range(3, 43), 1000)  # drop 1 %
    needed = records_needed(before, after, 0.005)
    assert drop_interval(before, after).low < 0.005
    times = -(-needed // 1000)
    assert drop_interval(np.tile(before, times), np.tile(after, times)).low > 0.005


def test_no_number_of_records_settles_a_loss_equal_to_the_budget():
    before, after = right([], 1000), right(range(5), 1000)
    assert records_needed(before, after, 0.005) is None


@pytest.mark.parametrize(("lost", "won"), [(0, 2), (1, 0), (2, 0), (1, 3)])
def test_few_losses_are_not_taken_for_few_to_come(lost, won):
    """The bootstrap of one loss never draws a worse sample than has been seen."""
    n = 2500
    before, after = right(range(won)), right(range(won, won + lost))
    interval = drop_interval(before, after)
    assert interval.high >= wilson_interval(lost, n).high - won / n
    assert interval.high > (lost - won) / n


def test_coverage_of_rare_losses():
    """One record in a thousand is lost: how often does the upper end lie below the truth?"""
    generator = np.random.default_rng(0)
    missed = sum(
        drop_interval(np.ones(1500), (generator.random(1500) >= 0.001).astype(float)).high < 0.001
        for _ in range(80)
    )
    assert missed <= 4


def test_any_statistic_is_resampled_like_a_mean():
    before, after = right(range(290)), right(range(5, 303))
    losses = before - after
    plain = drop_interval(before, after)
    general = resampled_interval(lambda drawn: losses[drawn].mean(), len(losses), 0)
    assert general.low == pytest.approx(plain.low, abs=1.5 / len(losses))
    assert general.high == pytest.approx(plain.high, abs=1.5 / len(losses))


def test_needed_by_width_is_needed_by_spread():
    before, after = right(range(30), 1000), right(range(3, 36), 1000)
    interval = drop_interval(before, after)
    drop = float((before - after).mean())
    needed = needed_by_width(interval, drop, 0.005, 1000)
    assert needed == pytest.approx(records_needed(before, after, 0.005), rel=0.15)
