"""Ranges of activations, from a stream in bounded memory."""

import pytest
import torch

from deepseek.quantization.methods.histogram import OBSERVERS, Histogram, scale_and_zero


def seen(numbers):
    histogram = Histogram()
    for part in numbers.split(1000):
        histogram.widen(part)
    for part in numbers.split(1000):
        histogram.count(part)
    return histogram


def normal(count=20_000, outliers=()):
    x = torch.randn(count, generator=torch.Generator().manual_seed(0))
    return torch.cat([x, torch.tensor(outliers)]) if outliers else x


def error(numbers, low, high):
    scale, zero = scale_and_zero(low, high)
    rounded = ((numbers / scale + zero).round().clamp(-128, 127) - zero) * scale
    return float((rounded - numbers).square().mean())


def test_all_numbers_are_counted():
    x = normal()
    histogram = seen(x)
    assert histogram.counts.sum() == len(x)
    assert (histogram.low, histogram.high) == (float(x.min()), float(x.max()))
    assert OBSERVERS["minmax"](histogram) == (histogram.low, histogram.high)


@pytest.mark.parametrize("name", ["percentile", "entropy"])
def test_an_outlier_is_cut_off(name):
    low, high = OBSERVERS[name](seen(normal(outliers=[300.0])))
    assert -6 < low < -2
    assert 2 < high < 200


@pytest.mark.parametrize("numbers", [normal(), normal(outliers=[60.0]), normal().exp()])
def test_mse_makes_the_least_error(numbers):
    histogram = seen(numbers)
    best = error(numbers, *OBSERVERS["mse"](histogram))
    assert best <= 1.02 * min(error(numbers, *observe(histogram)) for observe in OBSERVERS.values())


def test_percentile_leaves_out_its_share():
    x = normal(100_000)
    low, high = OBSERVERS["percentile"](seen(x))
    beyond = ((x < low) | (x > high)).float().mean()
    assert 2e-5 < beyond < 1.2e-4


@pytest.mark.parametrize("name", OBSERVERS)
def test_zero_is_always_told_apart(name):
    for numbers in (normal().abs() + 3, -normal().abs() - 3, torch.zeros(50)):
        low, high = OBSERVERS[name](seen(numbers))
        assert low <= 0 <= high


def test_scale_and_zero_span_the_range():
    scale, zero = scale_and_zero(-1.0, 3.0)
    zero = zero.float()
    assert ((-128 - zero) * scale).item() == pytest.approx(-1.0, abs=float(scale) / 2)
    assert ((127 - zero) * scale).item() == pytest.approx(3.0, abs=float(scale) / 2)
    scale, zero = scale_and_zero(0.0, 0.0)
    assert scale > 0
    assert zero == -128
