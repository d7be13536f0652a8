"""Batches of a packed data set, epoch after epoch, with a position to go on from."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader

from deepseek.data.order.sampler import Position, ShuffledSampler
from deepseek.data.packed.dataset import PackedDataset

__all__ = ["PackedLoader"]


class PackedLoader:
    """Iterating gives the batches that are left of an epoch; the next time, those of the next.

        loader = PackedLoader(ds, ShuffledSampler(ds, batch_size=32, rank=rank, world=world))
        for batch in loader: ...
            state = loader.state_dict()   # after this batch, at any number of processes

    A batch costs about as much as copying it, so workers pay only where ``transform`` is slow.
    The random numbers of torch are left alone.

    Args:
        dataset: Where the records are.
        sampler: Which records, in which order.
        transform: What to make of a batch; by default it stays as it is.
        workers: Processes that prepare batches ahead; with 0 they are prepared when asked for.
        start: How workers are started.
        pin_memory: Put batches into pinned memory, for a GPU.
    """

    def __init__(
        self,
        dataset: PackedDataset,
        sampler: ShuffledSampler,
        *,
        transform: Callable[[Any], Any] | None = None,
        workers: int = 0,
        start: Literal["fork", "spawn", "forkserver"] = "spawn",
        pin_memory: bool = False,
    ) -> None:
        self._sampler = sampler
        self._taken = 0
        self._loader = DataLoader[Any](
            dataset,
            sampler=sampler,
            batch_size=None,  # the sampler's items are whole batches already
            collate_fn=transform or _unchanged,
            num_workers=workers,
            multiprocessing_context=start if workers else None,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # without one the global random numbers move on
        )

    def __len__(self) -> int:
        """Batches left in the epoch."""
        return len(self._sampler) - self._taken

    def __iter__(self) -> Iterator[Any]:
        self._settle()
        for batch in self._loader:
            self._taken += 1
            yield batch
        self._sampler.set_epoch(self._sampler.epoch + 1)
        self._taken = 0

    @property
    def records(self) -> list[int]:
        """The numbers of the records in the batch that was handed out last.

        Raises:
            IndexError: None was, in this epoch.
        """
        return self._sampler.batch(self._taken - 1)

    def state_dict(self) -> Position:
        """The position after the batch that was handed out last."""
        return self._sampler.state_dict(self._taken)

    def load_state_dict(self, state: Position) -> None:
        """Go to a saved position.

        Raises:
            InputError: The position belongs to other records.
        """
        self._sampler.load_state_dict(state)
        self._taken = 0

    def _settle(self) -> None:
        """Begin where the last iteration was left."""
        self._sampler.load_state_dict(self.state_dict())
        self._taken = 0


def _unchanged(batch: Any) -> Any:
    return batch
