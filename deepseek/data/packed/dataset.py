"""A packed data set: any record, slice or batch of it as tensors over mapped files."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from operator import index as as_index
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from deepseek.data.packed.field import Field
from deepseek.data.packed.gather import Batch, gather, gather_across, view
from deepseek.data.packed.index import INDEX_NAME, Index, ShardEntry, read_index
from deepseek.data.packed.mapping import Advice, advise, read_header
from deepseek.data.packed.ragged import Ragged
from deepseek.data.packed.shard import Record, Shard, open_shard
from deepseek.errors import InputError

__all__ = ["PackedDataset"]


class PackedDataset(Dataset[Record]):
    """Records in memory-mapped files.

    Opening reads the index and one page; everything else comes in when it is touched. A record is
    a dictionary of tensors over the mapped pages, and so is a slice; nothing is copied. A batch of
    records in any order is one gather. Tensors may be written to: the memory is this process's
    own from then on, and the file never changes.

    A data set is pickled as its path, so it goes to workers of a ``DataLoader``, forked or
    spawned, and to the ranks of a run at no cost; all of them share the pages of the file.

        ds = PackedDataset("path")
        ds[3]["tokens"]          # one record
        ds[10:20]["tokens"]      # ten records, one view
        ds[[7, 1, 4]]["tokens"]  # three records, one gather

    Args:
        path: A folder that ``deepseek data pack`` or ``PackedWriter`` wrote, or one shard of it.
        advice: What to tell the kernel about use to come, see ``advise``.

    Raises:
        InputError: There is no data set, it is of an unknown version, truncated or damaged. A
            shard other than the first is looked into when it is first used; that all are there
            and have their sizes is found at once.
    """

    def __init__(self, path: str | Path, *, advice: Advice = "normal") -> None:
        self.path = Path(path)
        self._advice: Advice = advice
        self._index, files = _find(self.path)
        self._files = files
        self._count = self._index.records
        counts = [entry.records for entry in self._index.shards]
        self._starts = list(accumulate(counts[:-1], initial=0))
        self._shards: list[Shard | None] = [None] * len(files)
        self._record_of: list[Callable[[int], Record]] = [
            partial(self._first_record, number) for number in range(len(files))
        ]
        self._shard(0)
        # numpy's take checks its indices; a check of our own would be a tenth of a small batch
        self._take_checks = len(files) == 1 and not any(field.ragged for field in self.fields)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of every record."""
        return self._index.fields

    @property
    def meta(self) -> dict[str, Any]:
        """What the packer had to say: tokeniser, classes, sources."""
        return self._index.meta

    @property
    def index(self) -> Index:
        """The shards and their sizes."""
        return self._index

    @property
    def files(self) -> list[Path]:
        """The files of the shards, in order."""
        return list(self._files)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | Tensor | NDArray[Any]) -> Batch: ...

    def __getitem__(
        self, index: int | slice | Sequence[int] | Tensor | NDArray[Any]
    ) -> Record | Batch:
        if not isinstance(index, int):
            return self._other(index)
        if not 0 <= index < self._count:
            index = self._from_the_end(index)
        number = bisect_right(self._starts, index) - 1
        return self._record_of[number](index - self._starts[number])

    def __getitems__(self, indices: Sequence[int]) -> list[Record]:
        """The records a ``DataLoader`` asks for, to be collated by it."""
        return [self[index] for index in indices]

    def batch(self, indices: Sequence[int] | Tensor | NDArray[Any]) -> Batch:
        """Records in the order asked for, each field as one tensor or one ``Ragged``.

        Records that follow one another in one shard come as a view, others as one copy.

        Raises:
            IndexError: There is no such record.
            InputError: What is asked for is no list of numbers.
        """
        numbers = np.asarray(indices)
        if numbers.shape == (0,):
            return self._span(0, 0)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise InputError(
                f"expected a list of record numbers, got {numbers.dtype} of shape {numbers.shape}"
            )
        numbers = numbers.astype(np.int64, copy=False)
        first, last = int(numbers[0]), int(numbers[-1])
        in_a_row = last - first == len(numbers) - 1 and bool((np.diff(numbers) == 1).all())
        if in_a_row and first >= 0 and last < self._count:
            return self._span(first, last + 1)
        return self._gather(numbers)

    def column(self, name: str) -> Iterator[Tensor | Ragged]:
        """One field of all records, a view for each shard.

        Raises:
            InputError: There is no such field.
        """
        names = [field.name for field in self.fields]
        if name not in names:
            raise InputError(f"expected a field of {', '.join(names)}, got {name!r}")
        place = names.index(name)
        for number, entry in enumerate(self._index.shards):
            yield self._shard(number).columns[place].span(0, entry.records)

    def advise(self, advice: Advice) -> None:
        """Tell the kernel how the files will be used, those not yet mapped too.

        ``random`` keeps it from reading ahead, ``sequential`` makes it read further ahead,
        ``willneed`` starts reading everything now, ``dontneed`` lets go of this process's pages.

        Raises:
            InputError: There is no such advice.
        """
        self._advice = advice
        for shard in self._shards:
            if shard is not None:
                advise(shard.memory, advice)

    def __reduce__(self) -> tuple[partial["PackedDataset"], tuple[Path]]:
        return partial(PackedDataset, advice=self._advice), (self.path,)

    def __repr__(self) -> str:
        fields = ", ".join(map(str, self.fields))
        return f"PackedDataset({str(self.path)!r}: {self._count} records of {fields})"

    def _other(self, index: Any) -> Record | Batch:
        if isinstance(index, slice):
            numbers = range(*index.indices(self._count))
            if numbers.step == 1:
                return self._span(numbers.start, max(numbers.start, numbers.stop))
            return self.batch(numbers)
        if hasattr(index, "__index__") and not getattr(index, "shape", ()):
            return self[as_index(index)]
        return self.batch(index)

    def _from_the_end(self, index: int) -> int:
        if not -self._count <= index < self._count:
            raise self._missing(index)
        return index % self._count

    def _missing(self, what: object) -> IndexError:
        return IndexError(f"expected a record from 0 to {self._count - 1}, got {what}")

    def _span(self, start: int, stop: int) -> Batch:
        number = bisect_right(self._starts, start) - 1
        row, length = start - self._starts[number], stop - start
        if row + length <= self._index.shards[number].records:
            return view(self._shard(number), row, row + length)
        return self._gather(np.arange(start, stop))

    def _gather(self, numbers: NDArray[np.int64]) -> Batch:
        if self._take_checks:
            try:
                return gather(self._shard(0), numbers)
            except IndexError as error:
                raise self._missing(error) from error
        if int(numbers.view(np.uint64).max()) >= self._count:  # a negative number is a large one
            numbers = np.array([self._from_the_end(number) for number in numbers.tolist()])
        starts = self._starts
        of_shard = [bisect_right(starts, number) - 1 for number in numbers.tolist()]
        if of_shard.count(of_shard[0]) == len(of_shard):
            return gather(self._shard(of_shard[0]), numbers - starts[of_shard[0]])
        return gather_across(
            [
                (self._shard(shard), number - starts[shard])
                for shard, number in zip(of_shard, numbers.tolist(), strict=True)
            ]
        )

    def _first_record(self, number: int, row: int) -> Record:
        """The first record asked of a shard: from now on the shard itself is asked."""
        self._record_of[number] = self._shard(number).record
        return self._record_of[number](row)

    def _shard(self, number: int) -> Shard:
        shard = self._shards[number]
        if shard is None:
            shard = self._shards[number] = self._open(number)
        return shard

    def _open(self, number: int) -> Shard:
        path, entry = self._files[number], self._index.shards[number]
        shard = open_shard(path)
        if shard.header.fields != self.fields or shard.header.records != entry.records:
            raise InputError(
                f"{path}: expected {entry.records} records of "
                f"{', '.join(map(str, self.fields))}, found {shard.header.records} of "
                f"{', '.join(map(str, shard.header.fields))}",
                hint="the shard belongs to another data set; pack it again",
            )
        if self._advice != "normal":
            advise(shard.memory, self._advice)
        return shard


def _find(path: Path) -> tuple[Index, list[Path]]:
    """The index at ``path`` and the shards' files; a lone shard is its own index."""
    if path.is_dir():
        index = read_index(path)
        files = [path / entry.file for entry in index.shards]
        for file, entry in zip(files, index.shards, strict=True):
            _check_size(file, entry)
        return index, files
    if not path.exists():
        raise InputError(
            f"expected a packed data set, found nothing at {path}",
            hint="deepseek data pack makes one",
        )
    header = read_header(path)
    entry = ShardEntry(path.name, header.records, header.file_bytes)
    return Index(header.fields, (entry,)), [path]


def _check_size(file: Path, entry: ShardEntry) -> None:
    try:
        size = file.stat().st_size
    except OSError as error:
        raise InputError(f"{file}: expected a shard, cannot find it: {error.strerror}") from error
    if size != entry.bytes:
        raise InputError(
            f"{file}: expected {entry.bytes} bytes as {INDEX_NAME} states, found {size}",
            hint="the file was cut short or added to; copy or pack it again",
        )
