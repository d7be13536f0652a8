"""Look into a packed data set: what it holds, some records, and whether it is whole."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from deepseek.data.config import InspectConfig
from deepseek.data.packed.dataset import PackedDataset
from deepseek.data.packed.index import Index
from deepseek.data.packed.verify import Damage, verify_shard
from deepseek.data.packing.plan import TOKENS
from deepseek.data.packing.tokenizers import BYTES
from deepseek.progress import Progress, silent

__all__ = ["Inspection", "Shown", "inspect"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A record as it is shown.

    Attributes:
        number: Which record.
        values: Its fields.
        text: What its tokens say, where the tokenizer is there to tell.
    """

    number: int
    values: dict[str, Tensor]
    text: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What was found.

    Attributes:
        path: The data set.
        index: Its fields and shards.
        shown: Some of its records.
        verified: Whether everything was compared with its checksums.
        damages: What differs from them.
    """

    path: Path
    index: Index
    shown: tuple[Shown, ...]
    verified: bool
    damages: tuple[Damage, ...]


def inspect(config: InspectConfig, *, progress: Progress = silent) -> Inspection:
    """Look into the data set that a configuration names.

    Raises:
        InputError: There is no data set, or its index or a header cannot be used.
    """
    dataset = PackedDataset(config.path)
    damages = (
        tuple(damage for file in dataset.files for damage in verify_shard(file, progress))
        if config.verify
        else ()
    )
    start = min(max(config.start + (len(dataset) if config.start < 0 else 0), 0), len(dataset))
    numbers = range(start, min(start + config.records, len(dataset)))
    decode = _decoder(dataset)
    # damaged numbers may mislead: they are not shown
    shown = (_shown(dataset, number, decode) for number in (() if damages else numbers))
    return Inspection(
        path=config.path,
        index=dataset.index,
        shown=tuple(shown),
        verified=config.verify,
        damages=damages,
    )


def _shown(dataset: PackedDataset, number: int, decode: Callable[[list[int]], str] | None) -> Shown:
    values = dataset[number]
    text = None if decode is None or TOKENS not in values else decode(values[TOKENS].tolist())
    return Shown(number=number, values=values, text=text)


def _decoder(dataset: PackedDataset) -> Callable[[list[int]], str] | None:
    about: Any = dataset.meta.get("tokenizer")
    name = about.get("name") if isinstance(about, dict) else None
    if name == BYTES:
        return _text_of_bytes
    file = dataset.path / "tokenizer" / "tokenizer.json"
    if name is None or not file.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        fast = Tokenizer.from_file(str(file))
    except Exception:  # noqa: BLE001 - records are worth showing without their text
        return None
    return lambda tokens: fast.decode(tokens, skip_special_tokens=False)


def _text_of_bytes(tokens: list[int]) -> str:
    """The text, a line for each one that ends."""
    return "\n".join(part.decode("utf-8", "replace") for part in _split_at_ends(tokens))


def _split_at_ends(tokens: list[int]) -> list[bytes]:
    parts = [bytearray()]
    for token in tokens:
        if token > 255:
            parts.append(bytearray())
        else:
            parts[-1].append(token)
    return [bytes(part) for part in parts]
