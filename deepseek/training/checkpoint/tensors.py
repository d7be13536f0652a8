"""Every tensor of a run under one flat name, in the same way for every layout.

``model.NAME`` is a weight, ``optimizer.NAME.KEY`` what the optimizer remembers of it, and
``average.NAME`` its running average. Names are those of the whole model, so that a checkpoint can
be read by any other layout.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

__all__ = ["empty_optimizer_state", "named_weights", "optimizer_tensors", "weight_tensors"]


def named_weights(modules: Sequence[nn.Module]) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and persistent buffers by name; one that is shared comes under its first name."""
    seen: set[int] = set()
    for module in modules:
        for name, tensor in module.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield name, tensor


def weight_tensors(modules: Sequence[nn.Module]) -> dict[str, torch.Tensor]:
    """The weights under their flat names, sharing memory with the modules."""
    return {f"model.{name}": tensor.detach() for name, tensor in named_weights(modules)}


def optimizer_tensors(
    modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """What the optimizer of this process remembers, sharing its memory."""
    state = _state_of(optimizer)
    return {
        f"optimizer.{name}.{key}": value
        for name, parameter in named_weights(modules)
        for key, value in state.get(parameter, {}).items()
        if isinstance(value, torch.Tensor)
    }


def empty_optimizer_state(
    modules: Sequence[nn.Module],
    optimizer: torch.optim.Optimizer,
    saved: Mapping[str, torch.Size],
) -> None:
    """Make room in the optimizer for what a checkpoint holds of its parameters.

    Args:
        modules: Those whose parameters it moves.
        optimizer: One that has not stepped yet.
        saved: The sizes of the tensors in the checkpoint, by flat name.
    """
    keys: dict[str, list[str]] = {}
    for flat in saved:
        if flat.startswith("optimizer."):
            name, _, key = flat.removeprefix("optimizer.").rpartition(".")
            keys.setdefault(name, []).append(key)
    state = _state_of(optimizer)
    groups = {id(p): group for group in _groups_of(optimizer) for p in group["params"]}
    for name, parameter in named_weights(modules):
        group = groups.get(id(parameter))
        if group is None:
            continue
        on_device = group.get("fused") or group.get("capturable")
        for key in keys.get(name, ()):
            scalar = torch.zeros((), device=parameter.device if on_device else "cpu")
            matches = saved[f"optimizer.{name}.{key}"] == parameter.shape
            is_like = matches and not (parameter.dim() == 0 and key == "step")
            state[parameter][key] = torch.zeros_like(parameter.detach()) if is_like else scalar


def _inner(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer itself, or the one of this process's share inside a ZeroRedundancyOptimizer."""
    inner = getattr(optimizer, "optim", optimizer)
    assert isinstance(inner, torch.optim.Optimizer)
    return inner


def _state_of(optimizer: torch.optim.Optimizer) -> dict[torch.Tensor, dict[str, torch.Tensor]]:
    return _inner(optimizer).state


def _groups_of(optimizer: torch.optim.Optimizer) -> list[dict[str, list[torch.Tensor]]]:
    return _inner(optimizer).param_groups
