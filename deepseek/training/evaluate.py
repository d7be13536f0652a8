"""Judge the model on records that it does not learn from."""

from dataclasses import dataclass
from math import exp

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek.training.data.records import Records
from deepseek.training.engine import Engine
from deepseek.training.exchange import Exchange
from deepseek.training.tasks import IGNORED, Batch, Task

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How good a model is on held-out records.

    Attributes:
        loss: Mean cross-entropy.
        accuracy: Share of labels that were the likeliest class.
        labels: How many there were.
    """

    loss: float
    accuracy: float
    labels: int

    @property
    def perplexity(self) -> float:
        """The exponential of the loss."""
        return exp(min(self.loss, 700.0))


def evaluate(
    engine: Engine,
    records: Records,
    task: Task,
    *,
    batch_size: int,
    part: int,
    parts: int,
    exchange: Exchange,
) -> Evaluation:
    """Judge every record once.

    Every process makes the same number of calls: the last batch is filled up with records whose
    labels are ignored.
    """
    share = batch_size // parts
    sums = torch.zeros(3, dtype=torch.float64)
    for module in engine.modules:
        module.eval()
    for begin in range(part * share, len(records) + part * share, batch_size):
        places = np.arange(begin, begin + share)
        score = engine.score(batch := _judged(records, task, places))
        sums += torch.stack(
            [score.loss.double().cpu(), score.hits.double().cpu(), batch.asked.double()]
        )
    for module in engine.modules:
        module.train()
    loss, hit, asked = exchange.total(sums).tolist()
    return Evaluation(loss=loss / max(asked, 1), accuracy=hit / max(asked, 1), labels=int(asked))


def _judged(records: Records, task: Task, places: NDArray[np.int64]) -> Batch:
    ids = places % len(records)
    inputs, labels = task.prepare(records.gather(ids), torch.from_numpy(ids))
    labels[torch.from_numpy(places >= len(records))] = IGNORED
    return Batch(inputs=inputs, labels=labels, ids=torch.from_numpy(ids))
