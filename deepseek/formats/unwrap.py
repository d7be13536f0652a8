"""Take off what wrappers put before every name: data parallelism, torch.compile, trainers."""

from collections.abc import Iterable
from dataclasses import replace

from deepseek.formats.checkpoint import Checkpoint

__all__ = ["unwrapped", "wrapper_prefix"]

_WRAPPERS = ("module.", "_orig_mod.")
_TRAINER = "model."
# Below ``model.`` these belong to an architecture (Llama, BART …), where it is no wrapper.
_OWN_TO_MODEL = (
    "backbone.",
    "decoder.",
    "embed_tokens.",
    "language_model.",
    "shared.",
    "vision_tower.",
    "visual.",
)


def unwrapped(checkpoint: Checkpoint, *, by_trainer: bool) -> Checkpoint:
    """The same checkpoint under the names that the model itself gives its tensors.

    Args:
        checkpoint: As it was read.
        by_trainer: It may come out of a training module that holds the model as ``model``.
    """
    prefix = wrapper_prefix(checkpoint.infos, by_trainer=by_trainer)
    if not prefix:
        return checkpoint
    read = checkpoint.read
    return replace(
        checkpoint,
        infos={name.removeprefix(prefix): info for name, info in checkpoint.infos.items()},
        read=lambda name: read(prefix + name),
        shared={
            name.removeprefix(prefix): holder.removeprefix(prefix)
            for name, holder in checkpoint.shared.items()
        },
        notes=(*checkpoint.notes, f"{prefix} was taken off every name"),
    )


def wrapper_prefix(names: Iterable[str], *, by_trainer: bool) -> str:
    """What stands before every name and belongs to a wrapper; empty unless all names agree.

    ``module.`` comes from data parallelism, ``_orig_mod.`` from torch.compile, ``model.`` from a
    trainer.
    """
    names, prefix = list(names), ""
    wrappers = (*_WRAPPERS, _TRAINER) if by_trainer else _WRAPPERS
    while names:
        wrapper = next((w for w in wrappers if all(n.startswith(w) for n in names)), None)
        if wrapper is None:
            break
        inner = [name.removeprefix(wrapper) for name in names]
        if wrapper == _TRAINER and any(name.startswith(_OWN_TO_MODEL) for name in inner):
            break
        prefix, names = prefix + wrapper, inner
    return prefix
