"""What int8 exchanges still owe: each process its own, of use in the same layout only."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from deepseek.distributed.wire import load_wire_state, wire_state

__all__ = ["owed_tensors", "restore_owed"]


def owed_tensors(modules: Sequence[nn.Module], rank: int) -> dict[str, torch.Tensor]:
    """The remainders of the modules that a process calls, under names of its own."""
    return {
        f"{_prefix(rank, number)}{name}": tensor
        for number, module in enumerate(modules)
        for name, tensor in wire_state(module).items()
    }


def restore_owed(
    modules: Sequence[nn.Module], rank: int, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Give the modules back what ``owed_tensors`` named."""
    for number, module in enumerate(modules):
        prefix = _prefix(rank, number)
        own = {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
        load_wire_state(module, own)


def _prefix(rank: int, number: int) -> str:
    return f"{rank}.{number}:"
