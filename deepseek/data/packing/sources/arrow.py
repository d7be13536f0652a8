"""Folders that ``datasets`` saved: Arrow streams with a state beside them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepseek.data.packing.item import Item, Source
from deepseek.errors import InputError

__all__ = ["is_arrow_folder", "open_arrow"]

_ROWS_AT_ONCE = 256


def is_arrow_folder(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote the folder: a data set, or one for each split."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def open_arrow(folder: Path, split: str | None) -> Source:
    """The rows of a saved data set.

    Args:
        folder: What ``save_to_disk`` wrote.
        split: Which split, where there are several.

    Raises:
        InputError: pyarrow is not installed, the folder is damaged, or no one split was named.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{folder}: expected pyarrow to read a datasets folder, found none installed",
            hint="pip install 'deepseek-toolkit[data]'",
        ) from error
    folder = _split_of(folder, split)
    state = _json(folder / "state.json")
    files = tuple(folder / str(entry.get("filename")) for entry in _entries(state, folder))
    return Source(
        name=str(folder),
        items=lambda: _items(files),
        files=files,
        classes=_classes(_json(folder / "dataset_info.json")),
    )


def _split_of(folder: Path, split: str | None) -> Path:
    if (folder / "state.json").is_file():
        return folder
    listed = _json(folder / "dataset_dict.json").get("splits")
    splits = [str(name) for name in listed] if isinstance(listed, list) else []
    chosen = split or (splits[0] if len(splits) == 1 else None)
    if chosen not in splits:
        raise InputError(
            f"{folder}: expected one of the splits {', '.join(splits)}, got {split or 'none'}",
            hint="--split names it",
        )
    return folder / chosen


def _entries(state: Mapping[str, Any], folder: Path) -> Sequence[Mapping[str, Any]]:
    entries = state.get("_data_files")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{folder / 'state.json'}: expected data files, found none")
    plain = [entry for entry in entries if isinstance(entry, dict)]
    names = [str(entry.get("filename")) for entry in plain]
    if len(plain) < len(entries) or any(Path(name).name != name for name in names):
        raise InputError(f"{folder / 'state.json'}: expected names of files beside it")
    return plain


def _items(files: tuple[Path, ...]) -> Iterator[Item]:
    import pyarrow

    for path in files:
        number = 0
        try:
            with pyarrow.memory_map(str(path)) as memory, pyarrow.ipc.open_stream(memory) as stream:
                for batch in stream:
                    for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                        for values in batch.slice(start, _ROWS_AT_ONCE).to_pylist():
                            number += 1
                            yield Item(values, f"{path}:{number}")
        except (pyarrow.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{path}:{number + 1}: expected an Arrow stream, found {reason}"
            ) from error


def _classes(info: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the one column that has names for its numbers."""
    features = info.get("features")
    named = [
        feature["names"]
        for feature in (features.values() if isinstance(features, dict) else ())
        if isinstance(feature, dict) and isinstance(feature.get("names"), list)
    ]
    return tuple(map(str, named[0])) if len(named) == 1 else ()


def _json(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, found {error}") from error
    return document if isinstance(document, dict) else {}
