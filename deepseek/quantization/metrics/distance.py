"""How far the outputs of two models lie apart, for every kind of output.

Decisions change in steps, and most layers change none: the distance tells layers apart where the
metric that is gated cannot.
"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from deepseek.quantization.batches import Batch
from deepseek.quantization.metrics.metric import Metric, Scores, array, gained
from deepseek.quantization.metrics.numbers import CLASS_COSINE, COSINE, KL, TOKEN_KL
from deepseek.quantization.metrics.outputs import Kind

__all__ = ["DISTANCES"]


def _first(outputs: Tensor, batch: Batch) -> Tensor:
    del batch
    return outputs[:, 0].double()


def _squares(before: Tensor, after: Tensor, batch: Batch) -> Scores:
    del batch
    squares = array((after - before) ** 2)
    return Scores(np.zeros_like(squares), squares, np.full_like(squares, np.nan))


DISTANCES: Mapping[Kind, Metric] = {
    "classes": KL,
    "label sets": CLASS_COSINE,
    "a score": Metric("squared error", _first, _squares, drop=gained, decides=False),
    "next tokens": TOKEN_KL,
    "tokens": TOKEN_KL,
    "states": COSINE,
}
