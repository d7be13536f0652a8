"""A checkpoint without a configuration, completed with the one its names and shapes show."""

import json
from dataclasses import replace

from deepseek.formats.architectures.recognise import recognise_by_shapes
from deepseek.formats.checkpoint import Checkpoint

__all__ = ["described"]


def described(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with a configuration, and with names that transformers loads under it.

    One that has a configuration already is returned as it is.

    Raises:
        InputError: Its architecture is not recognised.
    """
    if checkpoint.config is not None:
        return checkpoint
    recognised = recognise_by_shapes(checkpoint)
    names = recognised.names
    sources = {ours: theirs for theirs, ours in names.items()}
    read = checkpoint.read
    config = json.loads(recognised.config.to_json_string())
    config["architectures"] = [recognised.architecture]
    return replace(
        checkpoint,
        infos={names[name]: info for name, info in checkpoint.infos.items()},
        read=lambda name: read(sources[name]),
        shared={names[name]: names[holder] for name, holder in checkpoint.shared.items()},
        config=config,
        notes=(*checkpoint.notes, *recognised.notes),
    )
