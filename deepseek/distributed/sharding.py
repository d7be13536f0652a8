"""Several processes, one model: what each keeps of it, and how gradients meet."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from deepseek.distributed.layout import Strategy, Wire, check_wire
from deepseek.distributed.mesh import Mesh
from deepseek.distributed.stages import block_list

__all__ = ["gradient_sync", "optimizer_for", "shard"]


def shard(
    module: nn.Module, mesh: Mesh, *, strategy: Strategy = "none", wire: Wire = "fp32"
) -> nn.Module:
    """Prepare a module, or a stage of one, for training over the mesh's data dimensions.

    Args:
        module: Every process holds the same values; sharded strategies change it in place.
        mesh: Where this process stands.
        strategy: What is kept in shards.
        wire: In which precision gradients travel.

    Returns:
        What to call in its place. Its gradients after a backward pass are the mean over the
        processes that see different data.

    Raises:
        InputError: The wire precision does not go with the strategy.
    """
    check_wire(strategy, wire)
    if mesh.devices is None or mesh.layout.data_size == 1:
        return module
    if strategy in ("none", "optimizer"):
        return DistributedDataParallel(module, process_group=mesh.devices["replicate"].get_group())
    dims = ("replicate", "shard") if mesh.layout.replicas > 1 else ("shard",)
    reshard = strategy != "gradient"
    for block in block_list(module):
        fully_shard(block, mesh=mesh.devices[dims], reshard_after_forward=reshard)
    fully_shard(module, mesh=mesh.devices[dims], reshard_after_forward=reshard)
    return module


def optimizer_for(
    parameters: Iterable[Any],
    optimizer: type[torch.optim.Optimizer],
    mesh: Mesh,
    *,
    strategy: Strategy = "none",
    **options: Any,
) -> torch.optim.Optimizer:
    """The optimiser of sharded modules' parameters.

    Args:
        parameters: Parameters, or groups of them, of what :func:`shard` returned.
        optimizer: The class, such as ``torch.optim.AdamW``.
        mesh: Where this process stands.
        strategy: As given to :func:`shard`.
        options: Keyword arguments of the class.
    """
    parameters = list(parameters)
    if strategy == "optimizer" and mesh.devices is not None and mesh.layout.replicas > 1:
        return ZeroRedundancyOptimizer(
            parameters,
            optimizer_class=optimizer,
            process_group=mesh.devices["replicate"].get_group(),
            **options,
        )
    return optimizer(parameters, **options)


@contextmanager
def gradient_sync(module: nn.Module, *, enabled: bool) -> Iterator[None]:
    """Whether backward passes inside exchange gradients: False for all but the last accumulation.

    Args:
        module: What :func:`shard` returned.
        enabled: True in the last pass before the optimiser's step.
    """
    if enabled:
        yield
    elif isinstance(module, DistributedDataParallel):
        with module.no_sync():
            yield
    elif isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            module.set_requires_gradient_sync(True)
    else:
        yield
