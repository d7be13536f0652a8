"""Every tensor of a run under one flat name, in the same way for every layout.

``model.NAME`` is a weight, ``optimizer.NAME.KEY`` what the optimizer remembers of it, and
``average.NAME`` its running average. Names are those of the whole model, so that a checkpoint can
be read by any other layout.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

__all__ = ["NamedWeights", "by_kind", "empty_optimizer_state", "optimizer_tensors", "shared_names"]


@dataclass(frozen=True, slots=True)
class NamedWeights:
    """The weights that this process holds, under the names of the whole model.

    Attributes:
        modules: Parts of the model that keep its names.
        aliases: For each further name of a tied weight its first name. In a pipeline both may lie
            on different processes; under one name they are one weight of the checkpoint.
    """

    modules: Sequence[nn.Module]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        seen: set[str] = set()
        for module in self.modules:
            for own, tensor in module.state_dict(keep_vars=True).items():
                name = self.aliases.get(own, own)
                if name not in seen:
                    seen.add(name)
                    yield name, tensor

    def tensors(self) -> dict[str, torch.Tensor]:
        """Parameters and persistent buffers under their flat names, sharing their memory."""
        return {f"model.{name}": tensor.detach() for name, tensor in self}


def by_kind(tensors: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors in one mapping for each kind, as torch saves and loads them.

    It logs every entry of the uppermost level, which would cost more than copying small ones.
    """
    kinds: dict[str, dict[str, torch.Tensor]] = {}
    for flat, tensor in tensors.items():
        kind, _, name = flat.partition(".")
        kinds.setdefault(kind, {})[name] = tensor
    return kinds


def shared_names(model: nn.Module) -> dict[str, str]:
    """For each further name of a tied weight of a whole model, its first name."""
    first: dict[int, str] = {}
    aliases = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        before = first.setdefault(id(tensor), name)
        if before != name:
            aliases[name] = before
    return aliases


def optimizer_tensors(
    weights: NamedWeights, optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """What the optimizer of this process remembers, sharing its memory."""
    state = _inner(optimizer).state
    return {
        f"optimizer.{name}.{key}": value
        for name, parameter in weights
        for key, value in state.get(parameter, {}).items()
        if isinstance(value, torch.Tensor)
    }


def empty_optimizer_state(
    weights: NamedWeights,
    optimizer: torch.optim.Optimizer,
    saved: Mapping[str, torch.Size],
) -> None:
    """Make room in the optimizer for what a checkpoint holds of its parameters.

    Args:
        weights: Those that it moves.
        optimizer: One that has not stepped yet.
        saved: The sizes of the tensors in the checkpoint, by flat name.
    """
    keys: dict[str, list[str]] = {}
    for flat in saved:
        if flat.startswith("optimizer."):
            name, _, key = flat.removeprefix("optimizer.").rpartition(".")
            keys.setdefault(name, []).append(key)
    inner = _inner(optimizer)
    groups = {id(p): group for group in inner.param_groups for p in group["params"]}
    for name, parameter in weights:
        group = groups.get(id(parameter))
        if group is None:
            continue
        counted_at = parameter.device if group.get("fused") or group.get("capturable") else "cpu"
        for key in keys.get(name, ()):
            inner.state[parameter][key] = (
                torch.zeros((), device=counted_at)
                if key == _STEPS_TAKEN
                else torch.zeros_like(parameter.detach())
            )


_STEPS_TAKEN = "step"  # the one thing torch's optimizers remember that is no tensor of the shape


def _inner(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer itself, or the one of this process's share inside a ZeroRedundancyOptimizer."""
    inner = getattr(optimizer, "optim", optimizer)
    assert isinstance(inner, torch.optim.Optimizer)
    return inner
