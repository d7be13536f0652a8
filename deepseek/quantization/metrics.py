"""What is compared between the original and the quantized model, record by record.

A metric reads a prediction off the outputs of each model and turns two predictions into scores.
Which one fits is told by the outputs: class logits with labels give accuracy, without them
agreement; logits for every token give the accuracy of the next token where the model writes text,
else agreement; hidden states give the cosine of the mean of a text's token vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.quantization.batches import Batch

__all__ = ["Metric", "Scores", "choose_metric", "output_tensor"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Qualities between 0 and 1, one for each record.

    Attributes:
        before: Of the original.
        after: Of the quantized model; ``mean(before - after)`` is the loss that is gated.
        agreement: Share of equal decisions, or the cosine where there are none.
    """

    before: Array
    after: Array
    agreement: Array

    @classmethod
    def joined(cls, parts: "list[Scores]") -> "Scores":
        """Those of all batches, without records that have nothing to decide (NaN)."""
        columns = [
            np.concatenate([getattr(part, name) for part in parts]).astype(np.float64)
            for name in ("before", "after", "agreement")
        ]
        usable = ~np.isnan(columns[0])
        return cls(*(column[usable] for column in columns))


@dataclass(frozen=True, slots=True)
class Metric:
    """A way to compare.

    Attributes:
        name: ``accuracy``, ``next_token_accuracy``, ``agreement`` or ``cosine``.
        predict: From the output tensor of a model and its inputs to a prediction.
        score: From the predictions of the original and the quantized model to scores.
    """

    name: str
    predict: Callable[[Tensor, Batch], Tensor]
    score: Callable[[Tensor, Tensor, Batch], Scores]


def output_tensor(outputs: Any) -> Tensor:
    """The tensor of a model's outputs that is compared: logits, or else hidden states.

    Raises:
        InputError: There is neither.
    """
    if isinstance(outputs, Tensor):
        return outputs
    for name in ("logits", "last_hidden_state"):
        tensor = getattr(outputs, name, None)
        if isinstance(tensor, Tensor):
            return tensor
    raise InputError(
        f"expected a model that gives logits or hidden states, found {type(outputs).__name__}"
    )


def choose_metric(model: nn.Module, outputs: Any, *, labelled: bool) -> Metric:
    """The metric for a model, from its outputs on a batch.

    Raises:
        InputError: The outputs are of no kind that can be compared.
    """
    tensor = output_tensor(outputs)
    if tensor.ndim == 3:
        return _COSINE if _is_hidden(outputs) else _for_tokens(model)
    if tensor.ndim != 2:
        raise InputError(
            f"expected outputs of two dimensions (classes) or three (tokens), found {tensor.ndim}"
        )
    if tensor.shape[1] < 2:
        raise InputError(
            "expected a head with two classes or more, found one output: "
            "there is no decision whose loss could be measured",
            hint="quantize the encoder without its head; embeddings are compared by their cosine",
        )
    settings = getattr(model, "config", None)
    if getattr(settings, "problem_type", None) == "multi_label_classification":
        return _LABEL_SETS
    return _ACCURACY if labelled else _AGREEMENT


def _is_hidden(outputs: Any) -> bool:
    return not isinstance(outputs, Tensor) and getattr(outputs, "logits", None) is None


def _for_tokens(model: nn.Module) -> Metric:
    writes = type(model).__name__.endswith(("ForCausalLM", "LMHeadModel"))
    return _NEXT_TOKEN if writes else _TOKENS


def _class(logits: Tensor, batch: Batch) -> Tensor:
    del batch
    return logits.argmax(-1)


def _label_set(logits: Tensor, batch: Batch) -> Tensor:
    del batch
    return logits > 0


def _mean_vector(states: Tensor, batch: Batch) -> Tensor:
    """The mean of the token vectors, padding left out: ``[records, features]``."""
    mask = _mask(states, batch)[..., None].to(torch.float32)
    return (states.float() * mask).sum(1) / mask.sum(1)


def _mask(tokens: Tensor, batch: Batch) -> Tensor:
    """Which tokens count: ``[records, tokens]``."""
    mask = batch.inputs.get("attention_mask")
    if mask is None or mask.shape != tokens.shape[:2]:
        return torch.ones(tokens.shape[:2], dtype=torch.bool)
    return mask.bool()


def _accuracy(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    assert batch.labels is not None
    return Scores(
        _array(before == batch.labels), _array(after == batch.labels), _array(before == after)
    )


def _agreement(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    del batch
    same = _array((before == after).flatten(1).all(1) if before.ndim > 1 else before == after)
    return Scores(np.ones_like(same), same, same)


def _token_agreement(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    same = _share(before == after, _mask(before, batch))
    return Scores(np.where(np.isnan(same), np.nan, 1.0), same, same)


def _next_token_accuracy(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    """What follows a token in the text is its label."""
    following, counted = batch.inputs["input_ids"][:, 1:], _mask(before, batch)[:, 1:]
    before, after = before[:, :-1], after[:, :-1]
    return Scores(
        _share(before == following, counted),
        _share(after == following, counted),
        _share(before == after, counted),
    )


def _cosine(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    del batch
    cosine = _array(torch.nn.functional.cosine_similarity(before.double(), after.double()))
    return Scores(np.ones_like(cosine), cosine, cosine)


def _share(flags: Tensor, counted: Tensor) -> Array:
    """The share of true flags among those counted in each record; NaN where none counts."""
    return _array((flags & counted).sum(1) / counted.sum(1))


def _array(values: Tensor) -> Array:
    return values.double().numpy()


_ACCURACY = Metric("accuracy", _class, _accuracy)
_AGREEMENT = Metric("agreement", _class, _agreement)
_LABEL_SETS = Metric("agreement", _label_set, _agreement)
_TOKENS = Metric("agreement", _class, _token_agreement)
_NEXT_TOKEN = Metric("next_token_accuracy", _class, _next_token_accuracy)
_COSINE = Metric("cosine", _mean_vector, _cosine)
