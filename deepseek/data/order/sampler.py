"""Which records a process takes, batch by batch; a position that any other layout can go on from.

All processes together walk along one global order of an epoch. A step takes the next ``world x
batch_size`` records of it, and each process its part of those. How far the walk has come is one
number, and so is everything that has to be saved.
"""

from collections.abc import Iterator, Sized
from functools import lru_cache
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from deepseek.data.order.permutation import Permutation
from deepseek.errors import InputError

__all__ = ["Position", "ShuffledSampler"]

_AT_ONCE = 4096  # numbers that are shuffled together; one by one the calls would cost more


class Position(TypedDict):
    """Where in which order: what ``state_dict`` saves.

    Attributes:
        seed: The seed of the order.
        epoch: Which epoch.
        consumed: Records of it that all processes together have taken.
        first: The first record of the range that is walked.
        records: How many records the range has.
        shuffle: Whether the order is shuffled.
    """

    seed: int
    epoch: int
    consumed: int
    first: int
    records: int
    shuffle: bool


class ShuffledSampler(Sampler[list[int]]):
    """Batches of record numbers for one of ``world`` processes.

    The order depends on the records, ``seed`` and ``epoch`` alone, so that any number of processes
    with any batch size sees the same one. Iterating gives what is left of the epoch and changes
    nothing; ``set_epoch`` and ``load_state_dict`` move.

        DataLoader(ds, sampler=ShuffledSampler(ds, batch_size=32), batch_size=None)

    Args:
        records: A data set, a number of records, or a range of them.
        batch_size: Records in a batch of this process.
        rank: Which process this is.
        world: How many there are.
        seed: Which order.
        shuffle: Take records as they lie when false.
        drop_last: Leave out the end of an epoch that is less than a whole step. Otherwise it is
            shared out evenly, and where it does not divide, at most ``world - 1`` records from
            the front of the order come a second time, so that all processes take as many steps.

    Raises:
        InputError: There are no records, or a number is out of its range.
    """

    def __init__(
        self,
        records: int | range | Sized,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        self._range = _as_range(records)
        if batch_size < 1 or not 0 <= rank < world:
            raise InputError(
                "expected a batch size of at least 1 and a rank below the number of processes, "
                f"got batch size {batch_size}, rank {rank} of {world}"
            )
        self._batch_size, self._rank, self._world = batch_size, rank, world
        self._drop_last = drop_last
        self._seed, self._shuffle = seed, shuffle
        self._epoch = self._consumed = 0

    @property
    def epoch(self) -> int:
        """Which epoch is walked."""
        return self._epoch

    @property
    def step_records(self) -> int:
        """Records that all processes together take in a step."""
        return self._batch_size * self._world

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self._epoch, self._consumed = epoch, 0

    def __len__(self) -> int:
        """Batches left in the epoch."""
        left = len(self._range) - self._consumed
        return left // self.step_records if self._drop_last else -(-left // self.step_records)

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        steps = len(self)
        whole = (len(self._range) - self._consumed) // self.step_records
        at_once = max(1, _AT_ONCE // self._batch_size)
        for start in range(0, min(steps, whole), at_once):
            numbers = np.arange(start, min(start + at_once, whole))
            firsts = self._consumed + numbers * self.step_records + self._rank * self._batch_size
            positions = firsts[:, np.newaxis] + np.arange(self._batch_size)
            yield from self._records_at(order, positions).tolist()
        if steps > whole:
            yield self._records_at(order, self._last_positions()).tolist()

    def batch(self, number: int) -> list[int]:
        """The records of one batch, counted from where the sampler stands."""
        if not 0 <= number < len(self):
            raise IndexError(f"expected a batch from 0 to {len(self) - 1}, got {number}")
        first = self._consumed + number * self.step_records
        if first + self.step_records > len(self._range):
            positions = self._last_positions()
        else:
            positions = first + self._rank * self._batch_size + np.arange(self._batch_size)
        records: list[int] = self._records_at(self._order(), positions).tolist()
        return records

    def state_dict(self, taken: int = 0) -> Position:
        """The position after ``taken`` more batches of every process.

        Batches that were prepared ahead but not used do not count, which is why the number is
        asked for; ``PackedLoader`` keeps it.
        """
        return Position(
            seed=self._seed,
            epoch=self._epoch,
            consumed=min(self._consumed + taken * self.step_records, len(self._range)),
            first=self._range.start,
            records=len(self._range),
            shuffle=self._shuffle,
        )

    def load_state_dict(self, state: Position) -> None:
        """Go to a saved position, of this or another number of processes and batch size.

        Raises:
            InputError: The position belongs to other records.
        """
        here = range(state["first"], state["first"] + state["records"])
        if here != self._range:
            raise InputError(
                f"expected a position among the records {self._range}, got one among {here}",
                hint="resume with the data set that the run began with",
            )
        if not 0 <= state["consumed"] <= len(here):
            raise InputError(f"expected a position from 0 to {len(here)}, got {state['consumed']}")
        self._seed, self._shuffle = state["seed"], state["shuffle"]
        self._epoch, self._consumed = state["epoch"], state["consumed"]

    def _order(self) -> Permutation | None:
        if not self._shuffle:
            return None
        return _permutation(len(self._range), self._seed, self._epoch)

    def _records_at(
        self, order: Permutation | None, positions: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        return (positions if order is None else order.take(positions)) + self._range.start

    def _last_positions(self) -> NDArray[np.int64]:
        """This process's part of the end of an epoch that is less than a whole step."""
        count = len(self._range)
        left = (count - self._consumed) % self.step_records
        share = -(-left // self._world)
        return (count - left + self._rank * share + np.arange(share)) % count


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> Permutation:
    return Permutation(count, seed=seed, epoch=epoch)


def _as_range(records: int | range | Sized) -> range:
    if not isinstance(records, range):
        records = range(records if isinstance(records, int) else len(records))
    if not records or records.step != 1 or records.start < 0:
        raise InputError(f"expected records one after the other, at least one, got {records}")
    return records
