"""Metrics of numbers: vectors, probabilities, scores."""

from math import exp

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from deepseek.quantization.batches import Batch
from deepseek.quantization.metrics.metric import Array, Metric, Scores, array, gained
from deepseek.quantization.metrics.outputs import token_mask

__all__ = ["CLASS_COSINE", "COSINE", "KL", "PERPLEXITY", "SPEARMAN", "TOKEN_KL", "ranks"]


def _mean_vector(states: Tensor, batch: Batch) -> Tensor:
    """The mean of the token vectors, padding left out: ``[records, features]``."""
    mask = token_mask(states, batch)[..., None].to(torch.float32)
    return (states.float() * mask).sum(1) / mask.sum(1)


def _as_it_is(outputs: Tensor, batch: Batch) -> Tensor:
    del batch
    return outputs.float()


def _cosine(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    del batch
    cosine = array(cosine_similarity(before.double(), after.double()))
    return Scores(np.ones_like(cosine), cosine, cosine)


def _log_shares(logits: Tensor, batch: Batch) -> Tensor:
    del batch
    return logits.float().log_softmax(-1)


def _divergence(before: Tensor, after: Tensor) -> Tensor:
    """Kullback and Leibler's, of what the quantized model gives from the original, in nats."""
    return (before.exp() * (before - after)).sum(-1).clamp(min=0)


def _kl(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    del batch
    nats = array(_divergence(before, after))
    return Scores(np.zeros_like(nats), nats, array(before.argmax(-1) == after.argmax(-1)))


def _token_kl(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    mask = token_mask(before, batch)
    count = mask.sum(1).double()
    nats = array((_divergence(before, after) * mask).sum(1).double() / count)
    same = array(((before.argmax(-1) == after.argmax(-1)) & mask).sum(1).double() / count)
    return Scores(np.where(np.isnan(nats), np.nan, 0.0), nats, same)


def _surprise(logits: Tensor, batch: Batch) -> Tensor:
    """For each text the nats that its tokens cost, and how many tokens: ``[records, 2]``."""
    following = batch.inputs["input_ids"][:, 1:].clone()
    counted = token_mask(logits, batch)[:, 1:]
    following[~counted] = -100
    nats = cross_entropy(logits[:, :-1].transpose(1, 2).float(), following, reduction="none")
    return torch.stack([nats.double().sum(1), counted.sum(1).double()], dim=1)


def _perplexities(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    del batch
    tokens = array(before[:, 1])
    nats = np.where(tokens > 0, array(before[:, 0]), np.nan)
    return Scores(nats, array(after[:, 0]), np.full_like(nats, np.nan), tokens)


def _perplexity(nats: Array, tokens: Array | None) -> float:
    assert tokens is not None
    return exp(nats.sum() / tokens.sum())


def _rise(before: float, after: float) -> float:
    return after / before - 1


def _score(outputs: Tensor, batch: Batch) -> Tensor:
    del batch
    return outputs[:, 0].double()


def _scores(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    assert batch.labels is not None
    nothing = np.full(len(before), np.nan)
    return Scores(array(before), array(after), nothing, array(batch.labels))


def ranks(values: Array) -> Array:
    """The place of each number among all; equal ones share the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: Array = last - (counts - 1) / 2
    return means[group]


def _spearman(predicted: Array, truth: Array | None) -> float:
    """The correlation of ranks; 0 where either side is constant."""
    assert truth is not None
    a, b = (r - r.mean() for r in (ranks(predicted), ranks(truth)))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm else 0.0


COSINE = Metric("cosine", _mean_vector, _cosine, decides=False)
CLASS_COSINE = Metric("cosine", _as_it_is, _cosine, decides=False)
KL = Metric("kl", _log_shares, _kl, drop=gained)
TOKEN_KL = Metric("kl", _log_shares, _token_kl, drop=gained)
PERPLEXITY = Metric(
    "perplexity", _surprise, _perplexities, level=_perplexity, drop=_rise, decides=False
)
SPEARMAN = Metric("spearman", _score, _scores, level=_spearman, decides=False)
