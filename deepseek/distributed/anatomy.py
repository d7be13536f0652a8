"""What a model is made of: an entrance, a list of equal blocks, an exit.

The order in which modules were registered says which is which: what comes before the list, in the
module that holds it and in those around that, belongs to the entrance; what comes after, to the
exit. A stage that was cut wrongly because a model does not keep this order refuses to run.
"""

from dataclasses import dataclass

from torch import nn

from deepseek.errors import InputError

__all__ = ["Anatomy", "anatomy", "block_lists"]


@dataclass(frozen=True)
class Anatomy:
    """The parts of a model, by name.

    Attributes:
        blocks: The name of the list of blocks.
        depth: How many blocks.
        entrance: Modules that run before the first block.
        exit: Modules that run after the last.
        loose: Parameters of the modules around the list that are in none of the parts: every
            stage has them.
    """

    blocks: str
    depth: int
    entrance: tuple[str, ...]
    exit: tuple[str, ...]
    loose: tuple[str, ...]


def block_lists(model: nn.Module) -> dict[str, nn.ModuleList]:
    """The outermost lists of at least two modules of one class, by name."""
    found: dict[str, nn.ModuleList] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if not inside and isinstance(module, nn.ModuleList) and len(module) > 1:
            one_class = len({type(block) for block in module}) == 1
            found |= {name: module} if one_class else {}
    return found


def anatomy(model: nn.Module) -> Anatomy:
    """Find the parts of a model.

    Raises:
        InputError: It has an encoder and a decoder, no list of blocks, or several.
    """
    kind = type(model).__name__
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise InputError(
            f"expected a model with one chain of blocks for a pipeline, got {kind}: an encoder "
            "and a decoder",
            hint="train it with one pipeline stage and a sharding strategy",
        )
    lists = block_lists(model)
    if len(lists) != 1:
        found = f"{len(lists)} lists ({', '.join(lists)})" if lists else "none"
        raise InputError(
            f"expected one torch.nn.ModuleList of equal blocks in {kind} for a pipeline, "
            f"found {found}",
            hint="train it with one pipeline stage and a sharding strategy",
        )
    ((path, blocks),) = lists.items()
    if len({id(block) for block in blocks}) < len(blocks):
        raise InputError(
            f"expected blocks with parameters of their own for a pipeline, got {kind}: {path} "
            "repeats a block",
        )
    return _around(model, path, len(blocks))


def _around(model: nn.Module, path: str, depth: int) -> Anatomy:
    entrance: list[str] = []
    exits: list[str] = []
    loose: list[str] = []
    around = ""
    for step in path.split("."):
        holder = model.get_submodule(around)
        prefix = f"{around}." if around else ""
        side = entrance
        for name, _ in holder.named_children():
            if name == step:
                side = exits
            else:
                side.append(prefix + name)
        loose += [prefix + name for name, _ in holder.named_parameters(recurse=False)]
        around = prefix + step
    return Anatomy(path, depth, tuple(entrance), tuple(exits), tuple(loose))
