"""Where this process stands among the others, and the small exchanges that everybody needs."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from deepseek.distributed.layout import Layout
from deepseek.errors import InputError

__all__ = ["Mesh", "all_reduce_mean", "barrier", "is_leader", "seed_rank"]

_DIMS = ("stage", "replicate", "shard")


@dataclass(frozen=True)
class Mesh:
    """The layout's box of processes and this process's place in it.

    Neighbouring ranks share a copy of the model, so that with several hosts the shards of a copy
    stay within a host and stages, which send least, lie farthest apart.

    Attributes:
        layout: The box.
        devices: torch's mesh with dimensions ``stage``, ``replicate`` and ``shard``; None where a
            single process needs none.
        rank: This process among all.
        stage: Its part of the model.
        replica: Its copy of the model.
        shard: Its shard of the copy.
    """

    layout: Layout
    devices: DeviceMesh | None
    rank: int = 0
    stage: int = 0
    replica: int = 0
    shard: int = 0

    @classmethod
    def of(cls, layout: Layout, device_type: str | None = None) -> "Mesh":
        """The mesh of the process group that is initialised; none is needed for one process.

        Args:
            layout: The box.
            device_type: Where models train; that of the group's backend by default.

        Raises:
            InputError: The layout asks for another number of processes than there are.
        """
        world = dist.get_world_size() if dist.is_initialized() else 1
        if layout.world_size != world:
            raise InputError(f"expected {layout.world_size} processes for {layout}, got {world}")
        if world == 1:
            return cls(layout, None)
        devices = init_device_mesh(
            device_type or ("cuda" if dist.get_backend() == "nccl" else "cpu"),
            (layout.stages, layout.replicas, layout.shards),
            mesh_dim_names=_DIMS,
        )
        stage, replica, shard = (devices.get_local_rank(dim) for dim in _DIMS)
        return cls(layout, devices, dist.get_rank(), stage, replica, shard)

    @property
    def device_type(self) -> str:
        """Where tensors live: ``cpu`` or ``cuda``."""
        return "cpu" if self.devices is None else self.devices.device_type

    @property
    def data_rank(self) -> int:
        """Which share of the batch this process reads, of ``layout.data_size``."""
        return self.replica * self.layout.shards + self.shard

    @property
    def is_first_stage(self) -> bool:
        """Whether the model's inputs enter here."""
        return self.stage == 0

    @property
    def is_last_stage(self) -> bool:
        """Whether the model's outputs leave here."""
        return self.stage == self.layout.stages - 1

    def group(self, dim: str) -> dist.ProcessGroup | None:
        """The processes along a dimension; None where they are only this one."""
        layout = self.layout
        sizes = dict(zip(_DIMS, (layout.stages, layout.replicas, layout.shards), strict=True))
        if self.devices is None or sizes[dim] == 1:
            return None
        return self.devices.get_group(dim)


def is_leader() -> bool:
    """Whether this process speaks for all: rank 0, or the only one."""
    return not dist.is_initialized() or dist.get_rank() == 0


def barrier() -> None:
    """Wait until every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def all_reduce_mean(values: torch.Tensor, group: dist.ProcessGroup | None = None) -> torch.Tensor:
    """The mean of a tensor over processes, the same on each; the argument is not changed.

    Args:
        values: Any shape, the same on every process.
        group: Those who take part; all by default.
    """
    if not dist.is_initialized():
        return values.clone()
    total = values.detach().clone()
    dist.all_reduce(total, group=group)
    return total / dist.get_world_size(group)


def seed_rank(seed: int, mesh: Mesh) -> int:
    """Seed this process's random numbers, differently on each, and return the seed."""
    own = seed * 1_000_003 + mesh.rank
    torch.manual_seed(own)
    return own
