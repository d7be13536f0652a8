"""The endless order of records: a function of seed and place, and the place is all its state.

Record number ``place`` of the stream is the same at every world size. Each process takes its own
part of each batch, so that together they see the batch that was asked for.
"""

from dataclasses import dataclass, field

import torch

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
    _epoch: int = field(default=-1, init=False)
    _order: torch.Tensor = field(default_factory=lambda: torch.empty(0), init=False)

    def draw(self) -> Batch:
        """Our part of the next batch."""
        share = self.batch_size // self.parts
        begin = self.place + self.part * share
        self.place += self.batch_size
        places = torch.arange(begin, begin + share)
        ids = torch.stack([self._record_at(int(place)) for place in places])
        inputs, labels = self.task.prepare(self.records.gather(ids), places)
        return Batch(inputs=inputs, labels=labels, ids=ids)

    def _record_at(self, place: int) -> torch.Tensor:
        epoch, index = divmod(place, len(self.records))
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self.records), generator=generator)
            self._epoch = epoch
        return self._order[index]
