"""The same records in the format of each library, and how each hands one over as a tensor.

Records are 1,024 numbers of 32 bits, as a language model's sequences of tokens. Every library is
used the way its documentation shows, with the fastest of the formats it offers for this.
"""

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["LENGTH", "OURS", "PEERS", "Access", "Peer", "built", "installed"]

LENGTH = 1024
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Access:
    """One way to the records of an open data set."""

    sample: Callable[[int], Tensor]
    batch: Callable[[Sequence[int]], Tensor]


@dataclass(frozen=True)
class Peer:
    """A library, or a way to use one.

    Attributes:
        name: As it is printed.
        needs: The module that must be there.
        package: Whose version is printed.
        format: Peers of one format share their files.
        build: Writes so many records into a folder.
        open: Opens them.
    """

    name: str
    needs: str
    package: str
    format: str
    build: Callable[[Path, int], None]
    open: Callable[[Path], Access]


def installed(peer: Peer) -> bool:
    """Whether it can be measured here."""
    return importlib.util.find_spec(peer.needs) is not None


def built(peer: Peer, top: Path, records: int) -> Path:
    """The folder of a peer's data set, written if it is not there yet."""
    folder = top / f"{peer.format}-{records}"
    if not folder.exists():
        folder.mkdir(parents=True)
        peer.build(folder, records)
    return folder


def versions(peer: Peer) -> dict[str, str]:
    """What is measured."""
    return {name: version(name) for name in ("torch", "numpy", "deepseek-toolkit", peer.package)}


def blocks(records: int) -> Iterator[NDArray[np.int32]]:
    """All records, some at a time; each repeats its number, so that a wrong one is noticed."""
    for start in range(0, records, _ROWS_AT_ONCE):
        numbers = np.arange(start, min(start + _ROWS_AT_ONCE, records), dtype=np.int32)
        yield np.ascontiguousarray(np.broadcast_to(numbers[:, None], (len(numbers), LENGTH)))


def _build_packed(folder: Path, records: int) -> None:
    from deepseek.data import Field, PackedWriter

    with PackedWriter(folder, [Field("x", "int32", (LENGTH,))], overwrite=True) as writer:
        for block in blocks(records):
            for row in block:
                writer.write({"x": row})


def _open_packed(folder: Path) -> Access:
    from deepseek.data import PackedDataset

    dataset = PackedDataset(folder)

    def batch(numbers: Sequence[int]) -> Tensor:
        found = dataset[numbers]["x"]
        assert isinstance(found, Tensor)
        return found

    return Access(lambda number: dataset[number]["x"], batch)


def _build_numpy(folder: Path, records: int) -> None:
    with (folder / "x.bin").open("wb") as file:
        for block in blocks(records):
            block.tofile(file)


def _memmap(folder: Path) -> NDArray[np.int32]:
    file = folder / "x.bin"
    return np.memmap(file, np.int32, "r", shape=(file.stat().st_size // (4 * LENGTH), LENGTH))


def _open_numpy(folder: Path) -> Access:
    """As in most training scripts: a tensor of each row, batches put together from rows."""
    rows = _memmap(folder)
    return Access(
        lambda number: torch.tensor(rows[number]),
        lambda numbers: torch.stack([torch.tensor(rows[number]) for number in numbers]),
    )


def _open_numpy_by_hand(folder: Path) -> Access:
    """The quickest with the same safety: one copy a row, one indexing a batch."""
    rows = _memmap(folder)
    return Access(
        lambda number: torch.from_numpy(rows[number].copy()),
        lambda numbers: torch.from_numpy(rows[numbers]),
    )


def _build_datasets(folder: Path, records: int) -> None:
    import datasets
    import pyarrow

    def part(block: NDArray[np.int32]) -> pyarrow.ListArray:
        offsets = np.arange(len(block) + 1, dtype=np.int32) * LENGTH
        return pyarrow.ListArray.from_arrays(offsets, pyarrow.array(block.ravel()))

    column = pyarrow.chunked_array([part(block) for block in blocks(records)])
    datasets.disable_progress_bars()
    datasets.Dataset(pyarrow.table({"x": column})).save_to_disk(str(folder), num_shards=1)


def _open_datasets(layout: str) -> Callable[[Path], Access]:
    def opened(folder: Path) -> Access:
        import datasets

        dataset = datasets.load_from_disk(str(folder)).with_format(layout)
        make = torch.from_numpy if layout == "numpy" else torch.as_tensor
        return Access(
            lambda number: make(dataset[number]["x"]),
            lambda numbers: make(dataset[list(numbers)]["x"]),
        )

    return opened


def _build_streaming(folder: Path, records: int) -> None:
    from streaming import MDSWriter

    with MDSWriter(
        out=str(folder), columns={"x": f"ndarray:int32:{LENGTH}"}, exist_ok=True
    ) as writer:
        for block in blocks(records):
            for row in block:
                writer.write({"x": row})


def _open_streaming(folder: Path) -> Access:
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    dataset = StreamingDataset(local=str(folder), batch_size=1)

    def sample(number: int) -> Tensor:
        return torch.from_numpy(dataset[number]["x"])

    return Access(sample, lambda numbers: torch.stack([sample(number) for number in numbers]))


def _rows_of(span: tuple[int, int]) -> Iterator[Tensor]:
    for number in range(*span):
        yield torch.full((LENGTH,), number, dtype=torch.int32)


def _build_litdata(folder: Path, records: int) -> None:
    from litdata import TokensLoader, optimize

    optimize(
        fn=_rows_of,
        inputs=[(0, records)],
        output_dir=str(folder),
        chunk_size=LENGTH * 2**14,
        num_workers=1,
        item_loader=TokensLoader(LENGTH),
        mode="overwrite",
        verbose=False,
    )


def _open_litdata(folder: Path) -> Access:
    from litdata import StreamingDataset, TokensLoader

    dataset = StreamingDataset(str(folder), item_loader=TokensLoader(LENGTH), max_cache_size="99GB")
    return Access(
        lambda number: dataset[number],
        lambda numbers: torch.stack([dataset[number] for number in numbers]),
    )


warnings.filterwarnings("ignore", category=UserWarning)  # those of the peers about each other

OURS = Peer("deepseek.data", "deepseek", "deepseek-toolkit", "packed", _build_packed, _open_packed)
PEERS = (
    Peer("numpy memmap, torch.tensor(row)", "numpy", "numpy", "numpy", _build_numpy, _open_numpy),
    Peer("numpy memmap by hand, from_numpy(row.copy()) and rows[batch]", "numpy", "numpy", "numpy",
         _build_numpy, _open_numpy_by_hand),
    Peer("datasets, torch format", "datasets", "datasets", "datasets", _build_datasets,
         _open_datasets("torch")),
    Peer("datasets, numpy format", "datasets", "datasets", "datasets", _build_datasets,
         _open_datasets("numpy")),
    Peer("mosaicml-streaming", "streaming", "mosaicml-streaming", "streaming", _build_streaming,
         _open_streaming),
    Peer("litdata, TokensLoader", "litdata", "litdata", "litdata", _build_litdata, _open_litdata),
)  # fmt: skip
