"""Metrics of decisions: is the class right, is it still the same."""

import numpy as np
import torch
from torch import Tensor

from deepseek.quantization.batches import Batch
from deepseek.quantization.metrics.metric import Array, Metric, Scores, array
from deepseek.quantization.metrics.outputs import token_mask

__all__ = [
    "ACCURACY", "AGREEMENT", "F1", "LABEL_SETS", "NEXT_TOKEN", "NEXT_TOKEN_AGREEMENT", "TOKENS",
]  # fmt: skip


def _class(logits: Tensor, batch: Batch) -> Tensor:
    del batch
    return logits.argmax(-1)


def _label_set(logits: Tensor, batch: Batch) -> Tensor:
    del batch
    return logits > 0


def _accuracy(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    assert batch.labels is not None
    return Scores(
        array(before == batch.labels), array(after == batch.labels), array(before == after)
    )


def _classes(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    assert batch.labels is not None
    return Scores(array(before), array(after), array(before == after), array(batch.labels))


def macro_f1(predicted: Array, truth: Array | None) -> float:
    """The mean of the F1 of every class that occurs among the labels or the predictions."""
    assert truth is not None
    classes = int(max(predicted.max(), truth.max())) + 1
    found = np.bincount(predicted.astype(np.int64), minlength=classes)
    there = np.bincount(truth.astype(np.int64), minlength=classes)
    right = np.bincount(truth[predicted == truth].astype(np.int64), minlength=classes)
    total = found + there
    return float((2 * right[total > 0] / total[total > 0]).mean())


def _agreement(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    del batch
    same = array((before == after).flatten(1).all(1) if before.ndim > 1 else before == after)
    return Scores(np.ones_like(same), same, same)


def _token_agreement(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    same = _share(before == after, token_mask(before, batch))
    return Scores(np.where(np.isnan(same), np.nan, 1.0), same, same)


def _next_token_accuracy(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    """What follows a token in the text is its label."""
    following, counted = batch.inputs["input_ids"][:, 1:], token_mask(before, batch)[:, 1:]
    before, after = before[:, :-1], after[:, :-1]
    return Scores(
        _share(before == following, counted),
        _share(after == following, counted),
        _share(before == after, counted),
    )


def _next_token_agreement(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    counted = token_mask(before, batch)[:, 1:]
    same = _share((before == after)[:, :-1], counted)
    return Scores(np.where(np.isnan(same), np.nan, 1.0), same, same)


def _share(flags: Tensor, counted: Tensor) -> Array:
    """The share of true flags among those counted in each record; NaN where none counts."""
    return array((flags & counted).sum(1) / counted.sum(1).to(torch.float64))


ACCURACY = Metric("accuracy", _class, _accuracy)
F1 = Metric("f1", _class, _classes, level=macro_f1)
AGREEMENT = Metric("agreement", _class, _agreement)
LABEL_SETS = Metric("agreement", _label_set, _agreement)
TOKENS = Metric("agreement", _class, _token_agreement)
NEXT_TOKEN = Metric("next_token_accuracy", _class, _next_token_accuracy)
NEXT_TOKEN_AGREEMENT = Metric("agreement", _class, _next_token_agreement)
