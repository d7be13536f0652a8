"""Shards: an index names the file of each tensor."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.config_file import read_json
from deepseek.formats.inside import file_inside
from deepseek.formats.readers.files import read_file

__all__ = ["read_sharded"]


def read_sharded(index: Path, allow_globals: tuple[str, ...] = ()) -> Checkpoint:
    """The checkpoint whose shards a ``*.index.json`` names.

    Raises:
        InputError: The index is damaged, or names files or tensors that are not there.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index}: expected a weight_map of tensor names to files")
    names = dict.fromkeys(str(name) for name in weight_map.values())
    files = {name: file_inside(index.parent, name, named_by=index) for name in names}
    shards = {name: read_file(path, allow_globals) for name, path in files.items()}
    _check(index, weight_map, shards)
    homes = {name: shard for shard in shards.values() for name in shard.infos}

    def read(name: str) -> torch.Tensor:
        return homes[name].read(name)

    first = next(iter(shards.values()))
    return replace(
        first,
        source=index,
        infos={name: homes[name].infos[name] for name in homes},
        read=read,
        shared={name: holder for s in shards.values() for name, holder in s.shared.items()},
        files=tuple(files.values()),
    )


def _check(index: Path, weight_map: dict[str, str], shards: dict[str, Checkpoint]) -> None:
    absent = [name for name, file in weight_map.items() if name not in shards[file].infos]
    if absent:
        raise InputError(
            f"{index}: names {len(absent)} tensors that their shards do not hold, first "
            f"{absent[0]} in {weight_map[absent[0]]}"
        )
    counts = Counter(name for shard in shards.values() for name in shard.infos)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise InputError(f"{index}: {twice[0]} lies in more than one shard")
