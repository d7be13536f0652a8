"""Rounding in groups, against the same by plain loops."""

import pytest
import torch

from deepseek.quantization.methods.hessian import Moments
from deepseek.quantization.methods.rounding import Form, clipped, gptq, nearest

FORMS = [Form(4, 32), Form(8, 64)]


def inputs(features, tokens=400, seed=0):
    """Correlated features of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(features, features, generator=generator) * torch.logspace(0, -2, features)
    return torch.randn(tokens, features, generator=generator) @ mix


def weights(outputs, features, seed=1):
    return torch.randn(outputs, features, generator=torch.Generator().manual_seed(seed))


def moments(x):
    found = Moments(x.shape[1])
    for part in x.split(130):
        found.add(part)
    return found


def test_moments_of_a_stream_are_those_of_all():
    x = inputs(24)
    found = moments(x)
    assert found.count == len(x)
    torch.testing.assert_close(found.second, x.t() @ x / len(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.size, x.abs().mean(0))
    change = weights(5, 24)
    expected = (x @ change.t()).square().sum() / len(x)
    assert found.error(change) == pytest.approx(float(expected), rel=1e-3)


def by_the_book(weight, form, hessian):
    """Each column in turn, with the inverse of what is left of the Hessian made anew."""
    start = clipped(weight, form, hessian.diagonal())
    scales = start.scales.repeat_interleave(form.group_size, dim=1)[:, : weight.shape[1]].double()
    hessian = hessian.double()
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian))
    left, integers = weight.double().clone(), torch.zeros_like(weight)
    remaining = hessian.diagonal().argsort(descending=True).tolist()
    while remaining:
        inverse = damped[remaining][:, remaining].inverse()
        column, rest = remaining[0], remaining[1:]
        scale = scales[:, column]
        integers[:, column] = (left[:, column] / scale).round().clamp(form.low, form.high)
        error = (left[:, column] - integers[:, column] * scale) / inverse[0, 0]
        left[:, rest] -= error[:, None] * inverse[0, 1:]
        remaining = rest
    return integers


@pytest.mark.parametrize("features", [30, 64, 150])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_gptq_is_that_of_the_paper(form, features):
    x, weight = inputs(features), weights(7, features)
    hessian = moments(x).second
    found, expected = gptq(weight, form, hessian).integers, by_the_book(weight, form, hessian)
    # A number on the edge between two steps may fall to either side in single precision.
    assert (found.float() != expected).float().mean() < 0.01


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_each_way_is_better_than_the_one_before(form):
    x, weight = inputs(160), weights(40, 160)
    found = moments(x)
    diagonal = found.second.diagonal()
    made = (
        nearest(weight, form),
        clipped(weight, form, diagonal),
        gptq(weight, form, found.second),
    )
    plain, cut, made_up = (found.error(one.numbers() - weight) for one in made)
    assert cut <= plain
    assert made_up < 0.7 * plain


def test_features_that_are_never_there_do_no_harm():
    x, weight = inputs(64), weights(3, 64)
    x[:, 10:40] = 0
    made = gptq(weight, Form(4, 32), moments(x).second)
    assert made.numbers().isfinite().all()
    silent = gptq(weight, Form(4, 32), torch.zeros(64, 64))
    assert (silent.numbers() - weight).abs().max() < 1


def test_a_clipped_group_of_zeros_stays_zero():
    assert not clipped(torch.zeros(2, 50), Form(4, 32)).numbers().any()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_scales_are_as_they_are_stored(form):
    scales = clipped(weights(4, 64), form).scales
    kept = scales.bfloat16().float() if form.bits == 4 else scales
    assert torch.equal(scales, kept)
