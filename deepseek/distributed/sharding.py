"""One model on several processes that see different data: what each keeps, how gradients meet.

======== ============ ========= ============ ===========================================
strategy parameters   gradients optimiser    built on
======== ============ ========= ============ ===========================================
none     whole        whole     whole        DistributedDataParallel
optimizer whole       whole     sharded      the same, ZeroRedundancyOptimizer
gradient whole between sharded  sharded      fully_shard, kept whole from forward to backward
         fwd and bwd
full     sharded      sharded   sharded      fully_shard, gathered anew for the backward pass
hybrid   as full within a group of processes, groups are replicas
======== ============ ========= ============ ===========================================
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from deepseek.distributed.anatomy import block_lists
from deepseek.distributed.layout import SHARDED, Strategy, Wire, check_wire
from deepseek.distributed.mesh import Mesh
from deepseek.distributed.stages import Stage
from deepseek.distributed.wire import set_wire

__all__ = ["gradient_sync", "optimizer_for", "shard", "unwrap"]

# Modules whose parameters stay whole until the optimiser's step.
_KEPT_WHOLE: WeakSet[nn.Module] = WeakSet()


def shard(
    module: nn.Module, mesh: Mesh, *, strategy: Strategy = "none", wire: Wire = "fp32"
) -> nn.Module:
    """Prepare a module, or a stage of one, for training on processes that see different data.

    Args:
        module: On the device where it trains. All processes start from the values of the first.
            Sharded strategies change it in place.
        mesh: Where this process stands.
        strategy: What is kept in shards.
        wire: In which precision gradients travel.

    Returns:
        What to call in its place. After a backward pass, its gradients are the mean over the
        processes that see different data; of a stage, after a step of its ``PipelineRunner``.

    Raises:
        InputError: The wire precision does not go with the strategy.
    """
    check_wire(strategy, wire)
    if mesh.devices is None or mesh.layout.data_size == 1:
        return module
    _start_equal(module, mesh)
    if strategy in SHARDED:
        return _fully_shard(module, mesh, strategy, wire)
    if isinstance(module, Stage):  # the runner reduces: DDP would, in the middle of a schedule
        return module
    return DistributedDataParallel(
        module,
        process_group=mesh.devices["replicate"].get_group(),
        forward_sync_buffers=any(isinstance(part, _BatchNorm) for part in module.modules()),
        init_sync=False,
        gradient_as_bucket_view=True,
    )


def _start_equal(module: nn.Module, mesh: Mesh) -> None:
    tensors = [*module.parameters(), *module.buffers()]
    for dim in ("shard", "replicate"):
        group = mesh.group(dim)
        if group is not None:
            for tensor in tensors:
                if not tensor.is_meta:
                    dist.broadcast(tensor.detach(), group_src=0, group=group)


def _fully_shard(module: nn.Module, mesh: Mesh, strategy: Strategy, wire: Wire) -> nn.Module:
    assert mesh.devices is not None
    dims = ("replicate", "shard") if mesh.layout.replicas > 1 else ("shard",)
    keep = strategy == "gradient"
    for unit in [*_units(module), module]:
        fully_shard(unit, mesh=mesh.devices[dims], reshard_after_forward=not keep)
    set_wire(module, wire)
    if keep:
        _KEPT_WHOLE.add(module)
        module.register_forward_hook(_shard_after_evaluation)
    return module


def _shard_after_evaluation(module: nn.Module, *_: object) -> None:
    """No backward pass comes that would: parameters are seen in shards from outside again."""
    if not torch.is_grad_enabled():
        for part in module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()


def _units(module: nn.Module) -> list[nn.Module]:
    """What is gathered at once: a block; the rest of the model with its root."""
    if isinstance(module, Stage):
        return list(module.blocks)
    blocks = [block for blocks in block_lists(module).values() for block in blocks]
    return [block for block in blocks if next(block.parameters(), None) is not None]


def unwrap(module: nn.Module) -> nn.Module:
    """The model inside what :func:`shard` or ``split`` returned: its names are the model's own."""
    while isinstance(module, (DistributedDataParallel, Stage)):
        module = module.module if isinstance(module, DistributedDataParallel) else module.model
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
    group = mesh.group("replicate")
    if strategy != "optimizer" or group is None:
        return optimizer(list(parameters), **options)

    with warnings.catch_warnings():
        # Its package compiles functional optimisers, which nobody here uses, by torch.jit.script.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer(
        list(parameters), optimizer_class=optimizer, process_group=group, **options
    )


@contextmanager
def gradient_sync(module: nn.Module, *, enabled: bool) -> Iterator[None]:
    """Whether backward passes inside exchange gradients: False for all but the last accumulation.

    Args:
        module: What :func:`shard` returned.
        enabled: True in the last pass before the optimiser's step.
    """
    if isinstance(module, DistributedDataParallel) and not enabled:
        with module.no_sync():
            yield
        return
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(enabled)
        if module in _KEPT_WHOLE:  # gathered once a step, not once a pass
            module.set_reshard_after_backward(enabled)
    yield
