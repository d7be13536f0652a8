"""The endless order of records: a function of seed and place, and the place is all its state.

Epochs follow one another without a seam, so that every batch is as large as was asked for. The
record at a place is the same at every world size; each process takes its own part of each batch,
so that together they see the batch that was asked for.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek.data.order.permutation import Permutation
from deepseek.training.data.records import Records
from deepseek.training.tasks.task import Batch, Task

__all__ = ["Stream"]


@dataclass(kw_only=True, slots=True)
class Stream:
    """Batches in an order that depends on the seed alone.

    Attributes:
        records: What is drawn from.
        task: What makes inputs and labels of it.
        batch_size: Records in a batch, over all processes.
        seed: Decides the order.
        part: Which part of each batch is ours, from 0.
        parts: In how many parts batches are read.
        place: How many records were drawn before.
    """

    records: Records
    task: Task
    batch_size: int
    seed: int
    part: int = 0
    parts: int = 1
    place: int = 0

    def draw(self) -> Batch:
        """Our part of the next batch."""
        share = self.batch_size // self.parts
        begin = self.place + self.part * share
        self.place += self.batch_size
        places = np.arange(begin, begin + share)
        ids = self.records_at(places)
        inputs, labels = self.task.prepare(self.records.gather(ids), torch.from_numpy(places))
        return Batch(inputs=inputs, labels=labels, ids=torch.from_numpy(ids))

    def records_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of the records at these places of the stream."""
        epochs, positions = np.divmod(places, len(self.records))
        ids = np.empty_like(positions)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            order = _order(len(self.records), self.seed, int(epoch))
            ids[chosen] = order.take(positions[chosen])
        return ids


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> Permutation:
    return Permutation(count, seed=seed, epoch=epoch)
