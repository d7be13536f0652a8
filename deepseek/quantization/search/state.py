"""What a search has found out so far, in a file, so that an interrupted one can go on."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.outputs import staged
from deepseek.quantization.batches import Batches
from deepseek.quantization.documents import read_document

__all__ = ["SearchState", "Tally", "Trial", "fingerprint", "open_state"]

_SCHEMA = "deepseek.quantize.search/1"
_NUMBERS_LOOKED_AT = 4096  # of every tensor, evenly spread


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A model that was measured on the search data.

    Attributes:
        kept: Names of the units in floating point.
        drop: The loss.
        low: Lower end of its interval.
        high: Upper end.
        within: Whether that is near enough to the budget to be held out for the verdict.
        size: Bytes of the model.
        seconds: A record took; an indication.
    """

    kept: tuple[str, ...]
    drop: float
    low: float
    high: float
    within: bool
    size: int
    seconds: float


@dataclass(slots=True)
class Tally:
    """Sums of what each unit did by itself, over the batches so far."""

    batches: int = 0
    records: int = 0
    distance: dict[str, float] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class SearchState:
    """Findings of each method, written after each of them.

    Attributes:
        path: The file; None to keep nothing.
        mark: Of the model, the data and the settings they were found with.
        tallies: Sensitivity by method.
        trials: Models measured by method.
        times: Seconds of each unit in floating point and quantized, by method.
    """

    path: Path | None
    mark: str
    tallies: dict[str, Tally] = field(default_factory=dict)
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    times: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)

    def save(self) -> None:
        """Write the file, so that it is there complete, in its old form or the new."""
        if self.path is None:
            return
        document = {"schema": _SCHEMA, **asdict(self)}
        del document["path"]
        with staged(self.path, overwrite=True) as place:
            place.write_text(json.dumps(document), encoding="utf-8")

    def remove(self) -> None:
        """Remove the file, when it has served."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def open_state(path: Path | None, mark: str, *, resume: bool) -> SearchState:
    """An empty state, or to resume the one in the file.

    Raises:
        InputError: There is none to resume, or it belongs to another model, data or setting.
    """
    if not resume or path is None:
        return SearchState(path, mark)
    document = read_document(
        path,
        _SCHEMA,
        "the state of a search",
        missing="an interrupted search to resume",
        hint="leave --resume away to begin one",
    )
    if document["mark"] != mark:
        raise InputError(
            f"{path}: expected the state of this search, found that of another model, data or "
            "setting",
            hint="leave --resume away to begin anew",
        )
    return SearchState(
        path,
        mark,
        {method: Tally(**tally) for method, tally in document["tallies"].items()},
        {method: [_trial(one) for one in trials] for method, trials in document["trials"].items()},
        {
            method: {name: (pair[0], pair[1]) for name, pair in times.items()}
            for method, times in document["times"].items()
        },
    )


def _trial(document: dict[str, Any]) -> Trial:
    return Trial(**{**document, "kept": tuple(document["kept"])})


def fingerprint(model: nn.Module, batches: Batches, settings: Iterable[object]) -> str:
    """A mark of a model, of what it is measured on and how: other ones have other marks."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr([*settings, len(batches), torch.__version__]).encode())
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().flatten()
        step = max(1, flat.numel() // _NUMBERS_LOOKED_AT)
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(flat[::step].contiguous().view(torch.uint8).numpy().tobytes())
    for batch in batches:
        for name, value in batch.inputs.items():
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
