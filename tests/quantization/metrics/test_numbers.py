"""Divergence, perplexity, correlation of ranks: against torch and against plain loops."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from deepseek.quantization.batches import Batch
from deepseek.quantization.metrics.numbers import KL, PERPLEXITY, SPEARMAN, TOKEN_KL, ranks

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]])
GENERATOR = torch.Generator().manual_seed(0)


def scored(metric, before, after, batch):
    return metric.score(metric.predict(before, batch), metric.predict(after, batch), batch)


def noise(*shape):
    return torch.randn(*shape, generator=GENERATOR)


def test_kl_is_that_of_torch():
    before = noise(5, 3)
    after = before + 0.1 * noise(5, 3)
    found = scored(KL, before, after, Batch({"input_ids": torch.zeros(5, 2)}))
    expected = kl_div(after.log_softmax(-1), before.log_softmax(-1), log_target=True,
                      reduction="none").sum(-1)  # fmt: skip
    np.testing.assert_allclose(found.after, expected, atol=1e-6)
    assert not found.before.any()
    assert KL.drop(0.0, 0.2) == 0.2


def test_kl_of_tokens_is_a_mean_without_padding():
    before = noise(3, 4, 6)
    after = before.clone()
    after[1, 3] = 50 * noise(6)  # padding
    after[0, 2] += noise(6)
    found = scored(TOKEN_KL, before, after, Batch({"attention_mask": MASK}))
    one = kl_div(after[0, 2].log_softmax(-1), before[0, 2].log_softmax(-1), log_target=True,
                 reduction="sum")  # fmt: skip
    np.testing.assert_allclose(found.after, [one / 4, 0, 0], atol=1e-6)


def test_perplexity_is_the_loss_of_a_language_model():
    ids = torch.randint(6, (3, 4), generator=GENERATOR)
    batch = Batch({"input_ids": ids, "attention_mask": MASK})
    before, after = noise(3, 4, 6), noise(3, 4, 6)
    found = scored(PERPLEXITY, before, after, batch)
    losses = [
        cross_entropy(before[row, at], ids[row, at + 1]).item()
        for row in range(3)
        for at in range(3)
        if MASK[row, at + 1]
    ]
    assert math.isnan(found.before[2])  # a text of one token predicts nothing
    level = PERPLEXITY.level(found.before[:2], found.truth[:2])
    assert level == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-5)
    assert PERPLEXITY.drop(20.0, 21.0) == pytest.approx(0.05)


def test_ranks_share_a_tie():
    assert ranks(np.array([3.0, 1, 3, 2])).tolist() == [3.5, 1, 3.5, 2]


def test_spearman():
    truth = np.array([1.0, 2, 3, 4, 5])
    assert SPEARMAN.level(truth**3, truth) == pytest.approx(1)
    assert SPEARMAN.level(-truth, truth) == pytest.approx(-1)
    # 1 - 6 sum(d^2) / (n (n^2 - 1)) where there are no ties
    swapped = np.array([2.0, 1, 3, 5, 4])
    assert SPEARMAN.level(swapped, truth) == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert SPEARMAN.level(np.ones(5), truth) == 0.0
