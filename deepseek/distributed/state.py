"""What a checkpoint saves of a distributed model: live tensors under the whole model's names.

The names are the same in every layout, so that ``torch.distributed.checkpoint`` saves under one
and loads, in place, under another: a stage asks for its part of the names, a shard for its part
of each tensor, and the process of a sharded optimiser for the parameters that it updates.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from deepseek.distributed.sharding import unwrap
from deepseek.distributed.stages import Stage
from deepseek.distributed.ties import local

__all__ = ["TrainingState", "restoring", "training_state"]

TrainingState = dict[str, dict[str, Tensor]]
"""``model``: parameters and persistent buffers by name; ``optimizer``: by ``name.key``, such as
``head.weight.exp_avg``. Learning rates and the like are not in it."""


def training_state(modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer) -> TrainingState:
    """This process's part of the state, to save. The tensors are the live ones.

    Args:
        modules: What ``shard`` returned.
        optimizer: What ``optimizer_for`` returned; it has no state before its first step.
    """
    return _by_name(_entries(modules, optimizer))


@contextmanager
def restoring(
    modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer
) -> Iterator[TrainingState]:
    """Load a state: what is written into the tensors inside is what training goes on from.

    Args:
        modules: What ``shard`` returned.
        optimizer: What ``optimizer_for`` returned, before its first step.
    """
    _create_state(_inner(optimizer))
    entries = _entries(modules, optimizer)
    state = _by_name(entries)
    yield state
    # One process may have several stages, and with them several copies under one name.
    with torch.no_grad():
        for section, name, tensor in entries:
            if tensor is not state[section][name]:
                local(tensor).copy_(local(state[section][name]))


_Entry = tuple[str, str, Tensor]  # section, name, tensor


def _by_name(entries: Sequence[_Entry]) -> TrainingState:
    state: TrainingState = {"model": {}, "optimizer": {}}
    for section, name, tensor in entries:
        state[section].setdefault(name, tensor)
    return state


def _entries(modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer) -> list[_Entry]:
    entries = [
        ("model", name, tensor)
        for module in modules
        for name, tensor in unwrap(module).state_dict().items()
    ]
    state = _inner(optimizer).state
    for module in modules:
        for name, parameter in _named(module):
            for key, value in sorted(state.get(parameter, {}).items()):
                if isinstance(value, Tensor):
                    entries.append(("optimizer", f"{name}.{key}", value))
    return entries


def _named(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters by the name that the whole model has for them: of a tied one, the first."""
    ties = module.ties if isinstance(module, Stage) else ()
    first = {name: tie.names[min(tie.names)] for tie in ties for name in tie.names.values()}
    for name, parameter in unwrap(module).named_parameters():
        yield first.get(name, name), parameter


def _create_state(optimizer: torch.optim.Optimizer) -> None:
    """Make the tensors that only a step makes, by one step; parameters stay as they are."""
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    before = [(p, p.detach().clone(), p.grad) for p in held if p.requires_grad]
    for parameter, _, _ in before:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    with torch.no_grad():
        for parameter, value, grad in before:
            parameter.copy_(value)
            parameter.grad = grad


def _inner(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimiser that holds this process's state: a sharded one has it inside."""
    found: torch.optim.Optimizer = getattr(optimizer, "optim", optimizer)
    return found
